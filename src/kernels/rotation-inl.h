// Rotating floats (kernels/rotation.h): a group of a row, and a group of 16 rows side by side. Included once
// for each instruction set.
#if defined(VLM_KERNELS_ROTATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_ROTATION_INL_H_
#undef VLM_KERNELS_ROTATION_INL_H_
#else
#define VLM_KERNELS_ROTATION_INL_H_
#endif

#include <cstring>

#include "hwy/highway.h"
#include "kernels/quantised.h"
#include "kernels/rotation.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

struct RotationSigns {
  constexpr RotationSigns() {
    for (int64_t input = 0; input < kLongGroup; ++input) of[input] = is_negated(input) ? -1.0f : 1.0f;
  }
  alignas(64) float of[kLongGroup] = {};
};
inline constexpr RotationSigns kRotationSigns;

// The steps of the transform that pair numbers so far apart, whole vectors of D at least, over `size` aligned
// numbers: each is loaded and stored once.
template <class D, int kCount>
HWY_INLINE void TakeSteps(D d, float* numbers, int64_t size, const int64_t (&steps)[kCount]) {
  constexpr int kVectors = 1 << kCount;
  int64_t all = 0;
  for (const int64_t step : steps) all |= step;
  // Every place with none of these bits: the carry passes over them.
  for (int64_t first = 0; first < size; first = ((first | all) + static_cast<int64_t>(hn::Lanes(d))) & ~all) {
    auto place = [&](int idx) {
      int64_t at = first;
      for (int bit = 0; bit < kCount; ++bit) at += (idx >> bit & 1) * steps[bit];
      return numbers + at;
    };
    hn::Vec<D> v[kVectors];
#pragma GCC unroll 8
    for (int idx = 0; idx < kVectors; ++idx) v[idx] = hn::Load(d, place(idx));
#pragma GCC unroll 3
    for (int step = 1; step < kVectors; step *= 2)
#pragma GCC unroll 8
      for (int idx = 0; idx < kVectors; ++idx)
        if ((idx & step) == 0) {
          const auto low = v[idx], high = v[idx + step];
          v[idx] = hn::Add(low, high);
          v[idx + step] = hn::Sub(low, high);
        }
#pragma GCC unroll 8
    for (int idx = 0; idx < kVectors; ++idx) hn::Store(v[idx], d, place(idx));
  }
}

#if HWY_TARGET != HWY_SCALAR
// A step within vectors: each lane and its partner, the sum in the lower, the difference in the upper.
template <class D>
HWY_INLINE hn::Vec<D> StepInLanes(D d, hn::Vec<D> v, hn::Vec<D> partner, int32_t step) {
  const hn::RebindToSigned<D> d_int;
  const auto is_upper =
      hn::RebindMask(d, hn::Ne(hn::And(hn::Iota(d_int, 0), hn::Set(d_int, step)), hn::Zero(d_int)));
  return hn::IfThenElse(is_upper, hn::Sub(partner, v), hn::Add(v, partner));
}
#endif

// The group of a row that begins at x, `count` inputs and then zeros, without magnitudes above `most`, into
// `to`, aligned, `width` of them.
HWY_INLINE void RotateGroup(const float* x, int64_t count, float most, int64_t width, float* to) {
  const hn::CappedTag<float, 8> d;
  constexpr size_t kMostLanes = HWY_MIN(HWY_LANES(float), 8);
  static_assert(sizeof(kRotatedBits) == 7 * sizeof(int64_t), "the steps below");
  std::memcpy(to, x, static_cast<size_t>(count) * sizeof(float));
  std::memset(to + count, 0, static_cast<size_t>(width - count) * sizeof(float));
  for (int64_t idx = 0; idx < width; idx += static_cast<int64_t>(hn::Lanes(d))) {
    auto v = hn::Load(d, to + idx);
    v = hn::IfThenZeroElse(hn::Gt(hn::Abs(v), hn::Set(d, most)), v);
    v = hn::Mul(v, hn::Load(d, kRotationSigns.of + idx));
#if HWY_TARGET != HWY_SCALAR
    v = StepInLanes(d, v, hn::Shuffle2301(v), 1);
    if constexpr (kMostLanes == 8) v = StepInLanes(d, v, hn::ConcatLowerUpper(d, v, v), 4);
#endif
    hn::Store(v, d, to + idx);
  }
  if constexpr (kMostLanes < 4) TakeSteps(d, to, width, {1});
  if constexpr (kMostLanes < 8) TakeSteps(d, to, width, {4});
  TakeSteps(d, to, width, {8, 16, 32});
  if (width == kLongGroup)
    TakeSteps(d, to, width, {64, 128});
  else
    TakeSteps(d, to, width, {64});
}

// The transform alone, of `width` columns of 16 rows, aligned.
HWY_INLINE void TransformColumns(float* columns, int64_t width) {
  const hn::CappedTag<float, 16> d;
  const int64_t size = width * kTileRows;
  TakeSteps(d, columns, size, {1 * kTileRows, 4 * kTileRows, 8 * kTileRows});
  TakeSteps(d, columns, size, {16 * kTileRows, 32 * kTileRows, 64 * kTileRows});
  if (width == kLongGroup) TakeSteps(d, columns, size, {128 * kTileRows});
}

// Changes the signs of columns, before the transform or, where it is undone, after it.
HWY_INLINE void NegateColumns(float* columns, int64_t width) {
  const hn::CappedTag<float, 16> d;
  for (int64_t input = 0; input < width; ++input) {
    if (!is_negated(input)) continue;
    for (int64_t lane = 0; lane < kTileRows; lane += static_cast<int64_t>(hn::Lanes(d))) {
      float* at = columns + input * kTileRows + lane;
      hn::Store(hn::Neg(hn::Load(d, at)), d, at);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#endif
