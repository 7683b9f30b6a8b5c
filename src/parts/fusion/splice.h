#pragma once

#include "tensor/tensor.h"

namespace vlm {

// Puts the rows of `features` [n, D] over the rows of `x` [T, D] whose token is `placeholder`, in order.
// Throws bad_request when their numbers differ. Differentiable in both; without gradients, x itself is
// written.
Tensor splice(Tensor x_TD, const Tensor& ids_T, int64_t placeholder, const Tensor& features_ND);

}  // namespace vlm
