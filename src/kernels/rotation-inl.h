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

// The group of a row that begins at x, `count` inputs and then zeros, without magnitudes above `most`, into
// `to`, `width` of them.
HWY_INLINE void RotateGroup(const float* x, int64_t count, float most, int64_t width, float* to) {
  const hn::CappedTag<float, 8> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  std::memcpy(to, x, static_cast<size_t>(count) * sizeof(float));
  std::memset(to + count, 0, static_cast<size_t>(width - count) * sizeof(float));
  for (int64_t idx = 0; idx < width; idx += lanes) {
    const V v = hn::Load(d, to + idx);
    const V kept = hn::IfThenZeroElse(hn::Gt(hn::Abs(v), hn::Set(d, most)), v);
    hn::Store(hn::Mul(kept, hn::Load(d, kRotationSigns.of + idx)), d, to + idx);
  }
  for (const int64_t step : kRotatedBits) {
    if (step >= width) break;
    if (step >= lanes) {
      for (int64_t low = 0; low < width; low += lanes) {
        if ((low & step) != 0) continue;
        const V one = hn::Load(d, to + low), two = hn::Load(d, to + low + step);
        hn::Store(hn::Add(one, two), d, to + low);
        hn::Store(hn::Sub(one, two), d, to + low + step);
      }
      continue;
    }
#if HWY_TARGET != HWY_SCALAR
    // Each lane and its partner: the sum in the lower, the difference in the upper.
    const hn::RebindToSigned<decltype(d)> d_int;
    const auto is_upper = hn::RebindMask(
        d, hn::Ne(hn::And(hn::Iota(d_int, 0), hn::Set(d_int, static_cast<int32_t>(step))), hn::Zero(d_int)));
    for (int64_t at = 0; at < width; at += lanes) {
      const V v = hn::Load(d, to + at);
      const V partner = step == 1 ? hn::Shuffle2301(v) : hn::ConcatLowerUpper(d, v, v);
      hn::Store(hn::IfThenElse(is_upper, hn::Sub(partner, v), hn::Add(v, partner)), d, to + at);
    }
#endif
  }
}

// The transform alone, of `width` columns of 16 rows, aligned.
HWY_INLINE void TransformColumns(float* columns, int64_t width) {
  const hn::CappedTag<float, 16> d;
  using V = hn::Vec<decltype(d)>;
  // Three bits at a time, so that values are loaded and stored once for three steps.
  auto steps = [&](int64_t first, int64_t second, int64_t third) HWY_ATTR {
    for (int64_t input = 0; input < width; ++input) {
      if ((input & (first | second | third)) != 0) continue;
      for (int64_t lane = 0; lane < kTileRows; lane += static_cast<int64_t>(hn::Lanes(d))) {
        float* at = columns + input * kTileRows + lane;
        auto place = [=](int idx) {
          return at + kTileRows * ((idx & 1) * first + (idx >> 1 & 1) * second + (idx >> 2) * third);
        };
        V v[8];
#pragma GCC unroll 8
        for (int idx = 0; idx < 8; ++idx) v[idx] = hn::Load(d, place(idx));
#pragma GCC unroll 3
        for (int step = 1; step < 8; step *= 2)
#pragma GCC unroll 8
          for (int idx = 0; idx < 8; ++idx)
            if ((idx & step) == 0) {
              const V low = v[idx], high = v[idx + step];
              v[idx] = hn::Add(low, high);
              v[idx + step] = hn::Sub(low, high);
            }
#pragma GCC unroll 8
        for (int idx = 0; idx < 8; ++idx) hn::Store(v[idx], d, place(idx));
      }
    }
  };
  steps(1, 4, 8);
  steps(16, 32, 64);
  if (width < kLongGroup) return;
  for (int64_t at = 0; at < kHalfLongGroup * kTileRows; at += static_cast<int64_t>(hn::Lanes(d))) {
    const V low = hn::Load(d, columns + at), high = hn::Load(d, columns + at + kHalfLongGroup * kTileRows);
    hn::Store(hn::Add(low, high), d, columns + at);
    hn::Store(hn::Sub(low, high), d, columns + at + kHalfLongGroup * kTileRows);
  }
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
