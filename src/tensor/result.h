// Tensors for what a layer computes.
#pragma once

#include "tensor/tensor.h"

namespace vlm {

// float32, contiguous, with unspecified values. Large ones lie in memory that earlier results have left
// (base/spare_memory.h): a layer's results would otherwise cost a twentieth of its time in fresh pages.
Tensor empty_result(at::IntArrayRef sizes);

}  // namespace vlm
