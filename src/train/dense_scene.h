// Scenes crowded with shapes, letters or emoji: more to name on a picture than any conversation would ask.
#pragma once

#include "train/data/scene.h"

namespace vlm {

data::Scene dense_scene(data::Rng& rng, const data::SceneOptions& options);

}  // namespace vlm
