#include "kernels/elementwise.h"

#include "base/parallel.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

using DFloat = hn::CappedTag<float, 16>;
using VFloat = hn::Vec<DFloat>;

template <Function kFunction>
HWY_INLINE VFloat Evaluate(VFloat x) {
  const DFloat d;
  if constexpr (kFunction == Function::relu) return hn::Max(x, hn::Zero(d));
  if constexpr (kFunction == Function::relu_squared) {
    VFloat positive = hn::Max(x, hn::Zero(d));
    return hn::Mul(positive, positive);
  }
  if constexpr (kFunction == Function::silu) return hn::Mul(x, Sigmoid(d, x));
  if constexpr (kFunction == Function::tanh) return Tanh(d, x);
  if constexpr (kFunction == Function::gelu_quick)
    return hn::Mul(x, Sigmoid(d, hn::Mul(x, hn::Set(d, 1.702f))));
  if constexpr (kFunction == Function::gelu_erf || kFunction == Function::gelu_tanh) {
    VFloat inner;
    if constexpr (kFunction == Function::gelu_erf) {
      inner = Erf(d, hn::Mul(x, hn::Set(d, 0.70710678f)));
    } else {
      VFloat cubic = hn::MulAdd(hn::Mul(hn::Mul(x, x), x), hn::Set(d, 0.044715f), x);
      inner = Tanh(d, hn::Mul(cubic, hn::Set(d, 0.79788456f)));
    }
    VFloat half = hn::Mul(x, hn::Set(d, 0.5f));
    return hn::MulAdd(half, inner, half);
  }
  return x;
}

template <Function kFunction>
void Row(const float* x, const float* factor, float* y, int64_t width) {
  const DFloat d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t col = 0;
  for (; col + lanes <= width; col += lanes) {
    VFloat value = Evaluate<kFunction>(hn::LoadU(d, x + col));
    if (factor) value = hn::Mul(value, hn::LoadU(d, factor + col));
    hn::StoreU(value, d, y + col);
  }
  HWY_ALIGN float last[HWY_MAX_BYTES / 4] = {};
  for (int64_t idx = col; idx < width; ++idx) last[idx - col] = x[idx];
  if (col < width) hn::Store(Evaluate<kFunction>(hn::Load(d, last)), d, last);
  for (; col < width; ++col) y[col] = last[col % lanes] * (factor ? factor[col] : 1.0f);
}

void AddRow(const float* x, float* y, int64_t width) {
  const DFloat d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t col = 0;
  for (; col + lanes <= width; col += lanes)
    hn::StoreU(hn::Add(hn::LoadU(d, x + col), hn::LoadU(d, y + col)), d, y + col);
  for (; col < width; ++col) y[col] += x[col];
}

template <Function kFunction>
void Rows(const Elements& of) {
  for (int64_t row = 0; row < of.rows; ++row)
    Row<kFunction>(of.x + row * of.x_stride, of.factor ? of.factor + row * of.factor_stride : nullptr,
                   of.y + row * of.y_stride, of.width);
}

void Apply(const Elements& elements) {
  switch (elements.function) {
    case Function::identity:
      return Rows<Function::identity>(elements);
    case Function::relu:
      return Rows<Function::relu>(elements);
    case Function::relu_squared:
      return Rows<Function::relu_squared>(elements);
    case Function::silu:
      return Rows<Function::silu>(elements);
    case Function::tanh:
      return Rows<Function::tanh>(elements);
    case Function::gelu_erf:
      return Rows<Function::gelu_erf>(elements);
    case Function::gelu_tanh:
      return Rows<Function::gelu_tanh>(elements);
    case Function::gelu_quick:
      return Rows<Function::gelu_quick>(elements);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(Apply);
HWY_EXPORT(AddRow);

void add(const float* x, float* y, int64_t count) {
  parallel_for(0, count, 1 << 15, [&](int64_t first, int64_t last) {
    HWY_DYNAMIC_DISPATCH(AddRow)(x + first, y + first, last - first);
  });
}

void apply_in_this_thread(const Elements& elements) {
  HWY_DYNAMIC_DISPATCH(Apply)(elements);
}

void apply(const Elements& of) {
  // Pieces of up to 4096 elements: a single long row is shared out as well.
  constexpr int64_t kPiece = 4096;
  const int64_t width = of.width, pieces = (width + kPiece - 1) / kPiece;
  parallel_for(0, of.rows * pieces, 1 + 4 * kPiece / (width < kPiece ? width + 1 : kPiece),
               [&](int64_t first, int64_t last) {
                 for (int64_t task = first; task < last; ++task) {
                   const int64_t row = task / pieces, col = task % pieces * kPiece;
                   Elements piece = of;
                   piece.x += row * of.x_stride + col;
                   if (of.factor) piece.factor += row * of.factor_stride + col;
                   piece.y += row * of.y_stride + col;
                   piece.rows = 1;
                   piece.width = col + kPiece < width ? kPiece : width - col;
                   apply_in_this_thread(piece);
                 }
               });
}

}  // namespace vlm::kernels
#endif
