#pragma once

#include "tensor/tensor.h"

namespace vlm {

// Joins factor x factor neighbours of a grid into one wide feature, row by row: [N, rows * columns, V] ->
// [N, rows * columns / factor^2, factor^2 * V]. Both sides must be multiples of the factor.
Tensor pixel_shuffle(const Tensor& x_NPV, int64_t rows, int64_t columns, int64_t factor);

}  // namespace vlm
