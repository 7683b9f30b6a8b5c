#include "kernels/kv_rows.h"

#include <limits>

#include "base/half.h"
#include "base/parallel.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/kv_rows.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr float kLargestHalf = 65504.0f;

void StoreHalves(const float* from, int64_t width, uint16_t* to) {
  int64_t idx = 0;
#if HWY_TARGET != HWY_SCALAR  // whose conversion does not round
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> d_half;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto limit = hn::Set(d, kLargestHalf);
  for (; idx + lanes <= width; idx += lanes) {
    auto clamped = hn::Min(hn::Max(hn::LoadU(d, from + idx), hn::Neg(limit)), limit);
    hn::StoreU(hn::DemoteTo(d_half, clamped), d_half, reinterpret_cast<hwy::float16_t*>(to + idx));
  }
#endif
  for (; idx < width; ++idx)
    to[idx] = float_to_half(HWY_MIN(HWY_MAX(from[idx], -kLargestHalf), kLargestHalf));
}

// One group of up to kKvGroup values; zeros behind them.
void StoreBytes(const float* from, int64_t count, int8_t* to, float* scale) {
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<int8_t, decltype(d)> d_byte;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float whole[kKvGroup] = {};
  __builtin_memcpy(whole, from, static_cast<size_t>(count) * sizeof(float));
  auto largest = hn::Zero(d);
  for (int64_t idx = 0; idx < kKvGroup; idx += lanes)
    largest = hn::Max(largest, hn::Abs(hn::Load(d, whole + idx)));
  const float limit = hn::GetLane(hn::MaxOfLanes(d, largest));
  *scale = limit / 127.0f;
  // Below, 127 / limit would overflow: zeros.
  const auto inverse = hn::Set(d, *scale >= std::numeric_limits<float>::min() ? 127.0f / limit : 0.0f);
  for (int64_t idx = 0; idx < kKvGroup; idx += lanes)
    hn::StoreU(hn::DemoteTo(d_byte, hn::NearestInt(hn::Mul(hn::Load(d, whole + idx), inverse))), d_byte,
               to + idx);
}

void StoreLines(const float* from, int64_t width, uint16_t* to, int64_t stride) {
  const int64_t padded = kv_row_width(KvType::bf16, width);
  for (int64_t line = 0; line < padded; line += kKvGroup, to += stride)
    for (int64_t idx = 0; idx < kKvGroup; ++idx)
      to[idx] = line + idx < width ? float_to_bf16(from[line + idx]) : uint16_t{0};
}

// `stride`: between the lines of a tile.
void StoreRow(KvType type, const float* from, int64_t width, void* to, float* scales, int64_t stride) {
  switch (type) {
    case KvType::f32:
      __builtin_memcpy(to, from, static_cast<size_t>(width) * sizeof(float));
      return;
    case KvType::f16:
      return StoreHalves(from, width, static_cast<uint16_t*>(to));
    case KvType::bf16:
      return StoreLines(from, width, static_cast<uint16_t*>(to), stride);
    case KvType::int8:
      for (int64_t first = 0; first < width; first += kKvGroup)
        StoreBytes(from + first, HWY_MIN(kKvGroup, width - first), static_cast<int8_t*>(to) + first,
                   scales + first / kKvGroup);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(StoreRow);

void store_kv(KvType type, const float* from, int64_t token_stride, int64_t group_stride, int64_t tokens,
              int64_t groups, int64_t width, const KvTarget& to) {
  const int64_t bytes = type == KvType::f32 ? 4 : type == KvType::int8 ? 1 : 2;
  const bool is_tiled = type == KvType::bf16;
  auto place = [&](int64_t token) {
    if (!is_tiled) return token * to.strides[0];
    token += to.first;
    return token / to.tile * to.strides[0] + token % to.tile * kKvGroup;
  };
  // Below some 16 thousand values waking another thread costs more than it saves.
  parallel_for(0, tokens, 1 + 16384 / (groups * width + 1), [&](int64_t first, int64_t last) {
    for (int64_t token = first; token < last; ++token)
      for (int64_t group = 0; group < groups; ++group) HWY_DYNAMIC_DISPATCH(StoreRow)
    (type, from + token * token_stride + group * group_stride, width,
     static_cast<uint8_t*>(to.data) + (place(token) + group * to.strides[1]) * bytes,
     to.scales ? to.scales + token * to.scale_strides[0] + group * to.scale_strides[1] : nullptr,
     to.tile * kKvGroup);
  });
}

}  // namespace vlm::kernels
#endif
