#pragma once

#include "tensor/tensor.h"

namespace vlm::ops {

// x + y, of one shape. Without gradients the sum is written over y, which must be nobody else's: what a layer
// has just computed.
Tensor add_residual(const Tensor& x, Tensor y);

}  // namespace vlm::ops
