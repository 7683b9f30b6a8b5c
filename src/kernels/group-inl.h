// Rounding activations to 8 bits in groups of 32. Included once for each instruction set.
#if defined(VLM_KERNELS_GROUP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_GROUP_INL_H_
#undef VLM_KERNELS_GROUP_INL_H_
#else
#define VLM_KERNELS_GROUP_INL_H_
#endif

#include <limits>

#include "hwy/highway.h"
#include "kernels/quantised.h"
#include "kernels/rotation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

struct RoundedGroup {
  float scale;
  int32_t sum;  // of the quants
};

// A whole group, or a whole long one. quants: -127 .. 127, so that |quant| fits the unsigned operand of 8-bit
// products with room to spare.
HWY_INLINE RoundedGroup RoundGroup(const float* x, size_t count, int8_t* quants) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToSigned<decltype(d)> d_int;
  const hn::Rebind<int8_t, decltype(d)> d_bytes;
  // As whole numbers, magnitudes have the same order, and what is not finite is the largest: where infinities
  // met in a rotation, a maximum of floats might pass over what is no number.
  auto magnitudes = [&](size_t idx) HWY_ATTR { return hn::BitCast(d_int, hn::Abs(hn::LoadU(d, x + idx))); };
  auto most = magnitudes(0);
  for (size_t idx = hn::Lanes(d); idx < count; idx += hn::Lanes(d)) most = hn::Max(most, magnitudes(idx));
  const int32_t bits = hn::GetLane(hn::MaxOfLanes(d_int, most));
  float scale;
  __builtin_memcpy(&scale, &bits, sizeof scale);
  scale /= 127.0f;
  // Below, 1 / scale would overflow: zeros.
  auto inverse = hn::Set(d, scale >= std::numeric_limits<float>::min() ? 1.0f / scale : 0.0f);
  auto sum = hn::Zero(d_int);
  for (size_t idx = 0; idx < count; idx += hn::Lanes(d)) {
    // The clamp matters for infinities.
    auto quant = hn::NearestInt(
        hn::Clamp(hn::Mul(hn::LoadU(d, x + idx), inverse), hn::Set(d, -127.0f), hn::Set(d, 127.0f)));
    sum = hn::Add(sum, quant);
    hn::StoreU(hn::DemoteTo(d_bytes, quant), d_bytes, quants + idx);
  }
  return {scale, hn::GetLane(hn::SumOfLanes(d_int, sum))};
}

// The group of a row of `in` inputs that begins at `first`; a short one is filled up with zeros.
HWY_INLINE RoundedGroup RoundActivations(const float* row, int64_t first, int64_t in, int8_t* quants) {
  if (HWY_LIKELY(first + kGroup <= in)) return RoundGroup(row + first, kGroup, quants);
  HWY_ALIGN float group[kGroup] = {};
  __builtin_memcpy(group, row + first, static_cast<size_t>(in - first) * sizeof(float));
  return RoundGroup(group, kGroup, quants);
}

// The inputs of a row from one long group; with `most`, rotated into `buffer`, without magnitudes above that.
struct LongGroup {
  const float* x;
  int64_t count;
};
HWY_INLINE LongGroup LongGroupOf(const float* row, int64_t long_group, int64_t in, const float* most,
                                 float* buffer) {
  const int64_t first = long_group * kLongGroup, count = HWY_MIN(kLongGroup, in - first);
  if (!most) return {row + first, count};
  const int64_t width = long_group_width(first, in);
  RotateGroup(row + first, count, *most, width, buffer);
  return {buffer, width};
}

// Four quants as one integer, to be broadcast against the same four inputs of many rows of weights.
HWY_INLINE int32_t Quad(const int8_t* quants) {
  int32_t quad;
  __builtin_memcpy(&quad, quants, 4);
  return quad;
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#endif
