// Values to start training from.
#pragma once

#include <memory>

#include "base/json.h"
#include "weights/source.h"

namespace vlm {

// For every name that a model asks for: matrices normal with deviation 0.64 / sqrt(inputs) (0.02 at a width of
// 1024), those that write to the residual stream smaller by sqrt(2 layers), unit norms, zero biases, and
// position tables of square grids as sines and cosines of row and column.
std::shared_ptr<const TensorSource> initial_source(uint64_t seed, const Json& config);

// Tensors held in memory.
std::shared_ptr<const TensorSource> memory_source(std::vector<std::pair<std::string, Tensor>> tensors);

}  // namespace vlm
