// Matrix products y = function(x . W^T + bias) * factor with quantised or 16-bit weights. x, y and factor are
// float32, rows `x_stride`, `y_stride` and `factor_stride` elements apart; bias and factor may be null.
#pragma once

#include <span>

#include "kernels/elementwise.h"
#include "kernels/quantised.h"

namespace vlm::kernels {

struct Product {
  const float* x = nullptr;
  int64_t x_stride = 0;
  float* y = nullptr;
  int64_t y_stride = 0;
  int64_t rows = 0;
  const float* bias = nullptr;
  Function function = Function::identity;
  const float* factor = nullptr;
  int64_t factor_stride = 0;

  bool has_function() const { return function != Function::identity || factor; }
  // What is left to do to the sums of some rows and columns.
  Elements function_of_sums(int64_t row, int64_t column, int64_t row_count, int64_t width) const {
    float* at = y + row * y_stride + column;
    const float* factors = factor ? factor + row * factor_stride + column : nullptr;
    return {function, at, y_stride, factors, factor_stride, at, y_stride, row_count, width};
  }
};

// Up to so many rows the first kernel of each pair serves, which takes weights as they lie: a product is
// bound by reading them, or the second's panels take longer to make than they save. Those of a rotated matrix
// are copies.
constexpr int64_t kFewRows = 8;
#if defined(__x86_64__)
constexpr int64_t kFewRowsQuantised = 64, kFewRowsRotated = 32;
#else
constexpr int64_t kFewRowsQuantised = 8, kFewRowsRotated = 8;  // where nothing was measured
#endif
inline int64_t few_rows_of(const QuantisedMatrix& weight) {
  return weight.is_rotated ? kFewRowsRotated : kFewRowsQuantised;
}

// Both round x to 8 bits, each group along the input with its own scale: of 32 as it is, so a channel that is
// 100 times larger than the others costs accuracy only to the 31 beside it, or, beside a rotated matrix, of
// 32 (few rows) or 256 (many), rotated and without massive inputs (kernels/massive.h); but see
// are_many_rows_rotated(). A group whose scale, the largest magnitude / 127, is no normal number becomes
// zeros; an infinite one makes outputs that are not finite.
void few_rows_quantised(const Product& product, const QuantisedMatrix& weight);
void many_rows_quantised(const Product& product, const QuantisedMatrix& weight);

// Products of one x, which is rounded once, and threads are called together once for few rows: all have the
// same x, rows, bits, inputs and rotation. They are finished in their order: what one gives may be the factor
// of a later one.
struct QuantisedProduct {
  Product product;
  const QuantisedMatrix* weight = nullptr;
};
void few_rows_quantised_together(std::span<const QuantisedProduct> products);
void many_rows_quantised_together(std::span<const QuantisedProduct> products);
// Whether many rows are rotated whatever the matrix is kept as, and weights that are not are rotated and
// rounded again in groups of 256: so it is where x86 multiplies bytes in fours. many_rows_rotated() is what
// serves with AVX-512, and nowhere else.
bool are_many_rows_rotated();
void many_rows_rotated(std::span<const QuantisedProduct> products);

// Weights as the file keeps them: [out, in], rows `stride` elements apart. Many rows of x are rounded to
// bfloat16 beside bfloat16 weights where the machine is fastest with pairs of these, and what is below the
// least normal number is 0 then; else x is not rounded.
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
