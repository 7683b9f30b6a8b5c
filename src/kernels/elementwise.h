// Functions of one element, with and without a factor.
#pragma once

#include <cstdint>

namespace vlm::kernels {

enum class Function { identity, relu, relu_squared, silu, tanh, gelu_erf, gelu_tanh, gelu_quick };

// y = function(x), times `factor` where it is not null. `rows` rows of `width`; y has no gaps, rows of x and
// of factor are their strides apart. Within 4e-7 * max(1, |x|) (times the factor).
void apply(Function function, const float* x, int64_t x_stride, const float* factor, int64_t factor_stride,
           float* y, int64_t rows, int64_t width);

// y += x, `count` of them.
void add(const float* x, float* y, int64_t count);

}  // namespace vlm::kernels
