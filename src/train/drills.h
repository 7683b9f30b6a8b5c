// Short exercises about a scene: "find red circle" and everything there is to say about the red circles;
// "compare red circle with star" and all in which they differ. A conversation seldom asks for more than one
// thing at a time; an exercise asks for colour, shape, size and place at once, so that looking things up is
// learnt from fewer pictures.
#pragma once

#include <vector>

#include "train/data/questions.h"

namespace vlm {

std::vector<data::Turn> drill(const data::Scene& scene, data::Rng& rng, int64_t count);

}  // namespace vlm
