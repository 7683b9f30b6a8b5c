#pragma once

#include "tensor/tensor.h"

namespace vlm::ops {

// Over the last axis, in float32. bias may be undefined.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);
// x / sqrt(mean(x^2) + eps) * weight.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);

}  // namespace vlm::ops
