#pragma once

#include "weights/source.h"

namespace vlm {

// Two checkpoints as one: `main`'s tensors by their names, and those of `extra` below `from` under `to`: a
// vision tower that is published apart ("vision_model." -> "model.vision_tower.vision_tower.vision_model.").
// `main` wins where both have a name.
std::shared_ptr<const TensorSource> merged_source(std::shared_ptr<const TensorSource> main,
                                                  std::shared_ptr<const TensorSource> extra, std::string from,
                                                  std::string to);

}  // namespace vlm
