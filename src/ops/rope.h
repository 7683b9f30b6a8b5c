#pragma once

#include "tensor/tensor.h"

namespace vlm::ops {

// Rotates the first 2 * R features of every head, feature r paired with r + R ("half-split", as Hugging Face
// stores them). x [T, heads, head width], cos and sin [T, R]; R <= head width / 2.
Tensor rope(const Tensor& x_TAE, const Tensor& cos_TR, const Tensor& sin_TR);

}  // namespace vlm::ops
