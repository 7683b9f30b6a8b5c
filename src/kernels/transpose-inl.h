// Transposing blocks of floats. Included once for each instruction set.
#if defined(VLM_KERNELS_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_TRANSPOSE_INL_H_
#undef VLM_KERNELS_TRANSPOSE_INL_H_
#else
#define VLM_KERNELS_TRANSPOSE_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/load-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// to[col * to_stride + row] = from[row * from_stride + col] as float, for row < rows, col < cols.
template <typename T>
void Transpose(const T* from, int64_t from_stride, int64_t rows, int64_t cols, float* to, int64_t to_stride) {
  int64_t row = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d;
  const hn::FixedTag<double, 2> d64;
  auto pairs = [&](auto v) HWY_ATTR { return hn::BitCast(d64, v); };
  for (; row + 4 <= rows; row += 4) {
    const T* at = from + row * from_stride;
    int64_t col = 0;
    for (; col + 4 <= cols; col += 4) {
      auto r0 = LoadFloats(d, at + col), r1 = LoadFloats(d, at + from_stride + col);
      auto r2 = LoadFloats(d, at + 2 * from_stride + col), r3 = LoadFloats(d, at + 3 * from_stride + col);
      auto low01 = pairs(hn::InterleaveLower(d, r0, r1)), high01 = pairs(hn::InterleaveUpper(d, r0, r1));
      auto low23 = pairs(hn::InterleaveLower(d, r2, r3)), high23 = pairs(hn::InterleaveUpper(d, r2, r3));
      float* out = to + col * to_stride + row;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, low01, low23)), d, out);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23)), d, out + to_stride);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d64, high01, high23)), d, out + 2 * to_stride);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23)), d, out + 3 * to_stride);
    }
    const hn::CappedTag<float, 1> d1;
    for (; col < cols; ++col)
      for (int64_t line = 0; line < 4; ++line)
        to[col * to_stride + row + line] = hn::GetLane(LoadFloats(d1, at + line * from_stride + col));
  }
#endif
  const hn::CappedTag<float, 1> d1;
  for (; row < rows; ++row)
    for (int64_t col = 0; col < cols; ++col)
      to[col * to_stride + row] = hn::GetLane(LoadFloats(d1, from + row * from_stride + col));
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#endif
