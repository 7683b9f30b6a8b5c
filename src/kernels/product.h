// Matrix products y = x . W^T + bias with quantised or 16-bit weights. x and y are float32, rows `x_stride`
// and `y_stride` elements apart; bias may be null.
#pragma once

#include <span>

#include "kernels/quantised.h"

namespace vlm::kernels {

struct Product {
  const float* x = nullptr;
  int64_t x_stride = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
  int64_t rows = 0;
  const float* bias = nullptr;
};

// Up to so many rows the first kernel of each pair serves, which takes weights as they lie: a product is
// bound by reading them, or the second's panels take longer to make than they save.
constexpr int64_t kFewRows = 8;
#if defined(__x86_64__)
constexpr int64_t kFewRowsQuantised = 64;
#else
constexpr int64_t kFewRowsQuantised = 8;  // where nothing was measured
#endif

// Both round x to 8 bits in groups of 32 along the input, each group with its own scale, so a channel that is
// 100 times larger than the others costs accuracy only to the 31 beside it; but see are_many_rows_rotated().
// A group whose scale, the largest magnitude / 127, is no normal number becomes zeros; an infinite one makes
// outputs that are not finite.
void few_rows_quantised(const Product& product, const QuantisedMatrix& weight);
void many_rows_quantised(const Product& product, const QuantisedMatrix& weight);

// Products of one x, which is rounded once, and threads are called together once for few rows: all have the
// same x, rows, bits and inputs.
struct QuantisedProduct {
  Product product;
  const QuantisedMatrix* weight = nullptr;
};
void few_rows_quantised_together(std::span<const QuantisedProduct> products);
void many_rows_quantised_together(std::span<const QuantisedProduct> products);
// Whether many rows are rotated and rounded in groups of 128 here, and the weights again with them: so it is
// where the machine multiplies bytes in fours. many_rows_rotated() is what serves there, and nowhere else.
bool are_many_rows_rotated();
void many_rows_rotated(std::span<const QuantisedProduct> products);

// Weights as the file keeps them: [out, in], rows `stride` elements apart. Many rows of x are rounded to
// bfloat16 beside bfloat16 weights where the machine multiplies these in pairs, and what is below the least
// normal number is 0 then; else x is not rounded.
struct DenseMatrix {
  const void* data = nullptr;
  Float type = Float::f32;
  int64_t out = 0;
  int64_t in = 0;
  int64_t stride = 0;
};

void few_rows_dense(const Product& product, const DenseMatrix& weight);
void many_rows_dense(const Product& product, const DenseMatrix& weight);

}  // namespace vlm::kernels
