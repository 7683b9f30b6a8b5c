// Products of float32 matrices that may lie either way round, for training: the gradients of x . W^T are
// products of what lies there already.
#pragma once

#include <cstdint>

namespace vlm::kernels {

// A matrix [rows, in] of a product.
struct Factor {
  const float* data = nullptr;
  int64_t stride = 0;          // from one row to the next; transposed: from one input to the next
  bool is_transposed = false;  // the numbers of neighbouring rows follow each other, not those of a row
};

// y [rows, out] = a [rows, in] . b [out, in]^T + bias, sums in float32.
struct FactorProduct {
  Factor a, b;
  float* y = nullptr;
  int64_t y_stride = 0;
  int64_t rows = 0, out = 0, in = 0;  // none is 0
  const float* bias = nullptr;        // may be null
  // Both factors are rounded to bfloat16 first, and what is below the least normal number is 0 then: only
  // where the machine multiplies bfloat16 in pairs.
  bool rounds = false;
};
void multiply_factors(const FactorProduct& product);
bool multiplies_pairs();

}  // namespace vlm::kernels
