// Whether an operation may use its fused kernel.
#pragma once

#include <initializer_list>

#include "ops/linear.h"
#include "tensor/tensor.h"

namespace vlm::ops {

// Kernels are switched on, all tensors (undefined ones aside) are float32 on the CPU, and no gradient is
// asked for.
inline bool use_kernel(std::initializer_list<Tensor> tensors) {
  if (!kernels_enabled()) return false;
  for (const Tensor& tensor : tensors) {
    if (!tensor.defined()) continue;
    if (tensor.scalar_type() != at::kFloat || !tensor.device().is_cpu()) return false;
    if (at::GradMode::is_enabled() && tensor.requires_grad()) return false;
  }
  return true;
}

}  // namespace vlm::ops
