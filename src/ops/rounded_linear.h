// Matrix products of mixed-precision training.
#pragma once

#include "tensor/tensor.h"

namespace vlm::ops {

// y[..., out] = x[..., in] . W^T + bias, float32 in and out. All three products of a training step, y = x .
// W^T, dx = dy . W and dW = dy^T . x, multiply numbers rounded to bfloat16 and add up in float32
// (arXiv:1905.12322); those whose gradients nobody asks for are left out. W is a float32 matrix [out, in];
// bias may be undefined.
Tensor rounded_linear(const Tensor& x, const Tensor& weight_OI, const Tensor& bias_O);

// Whether this machine multiplies bfloat16 faster than float32. Elsewhere the same numbers are rounded, and
// multiplied as float32.
bool has_fast_bfloat16();

}  // namespace vlm::ops
