// Functions of one element, with and without a factor.
#pragma once

#include <cstdint>

namespace vlm::kernels {

enum class Function { identity, relu, relu_squared, silu, tanh, gelu_erf, gelu_tanh, gelu_quick };

// y = function(x), times `factor` where it is not null. `rows` rows of `width`, their strides apart; y may be
// x. Within 4e-7 * max(1, |x|) (times the factor).
struct Elements {
  Function function = Function::identity;
  const float* x = nullptr;
  int64_t x_stride = 0;
  const float* factor = nullptr;
  int64_t factor_stride = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
  int64_t rows = 0;
  int64_t width = 0;
};
void apply(const Elements& elements);
void apply_in_this_thread(const Elements& elements);

// y += x, `count` of them.
void add(const float* x, float* y, int64_t count);

}  // namespace vlm::kernels
