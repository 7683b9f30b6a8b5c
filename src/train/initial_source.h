// Values to start training from.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/json.h"
#include "weights/source.h"

namespace vlm {

// For every name that a model asks for: matrices normal with deviation 0.64 / sqrt(inputs) (0.02 at a width
// of 1024), those that write to the residual stream smaller by sqrt(2 layers), unit norms, zero biases, and
// position tables of square grids as sines and cosines of row and column.
std::shared_ptr<const TensorSource> initial_source(uint64_t seed, const Json& config);

// `below` (null: nothing) with the given values in place of its own, and beside them; names that start with
// `hidden_prefix` are left out.
std::shared_ptr<const TensorSource> overlaid_source(std::shared_ptr<const TensorSource> below,
                                                    std::map<std::string, Tensor> values,
                                                    const std::string& hidden_prefix);

}  // namespace vlm
