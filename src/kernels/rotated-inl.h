// What products of many rows round when both sides are rotated (kernels/rotation.h): weights to panels, x to
// rows of bytes, with AVX-512 and VNNI. Included once for that instruction set.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "hwy/highway.h"
#include "kernels/product.h"
#include "kernels/rotation-inl.h"

// Highway 1.0.3 knows the CPUs with VNNI as AVX3_DL but does not let the compiler use it.
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace vlm::kernels {
namespace HWY_NAMESPACE {

constexpr int64_t kQuads = kLongGroup / 4;        // 32-bit pieces of a group
constexpr int64_t kPartVectors = 2 * kGroup / 4;  // of 16 bits, of 32 inputs (a part) of 16 columns

// Over all bits of the vectors' index.
template <int kCount>
HWY_INLINE void Transform(__m512i (&v)[kCount]) {
#pragma GCC unroll 4
  for (int step = 1; step < kCount; step *= 2)
#pragma GCC unroll 16
    for (int idx = 0; idx < kCount; ++idx)
      if ((idx & step) == 0) {
        const __m512i low = v[idx], high = v[idx + step];
        v[idx] = _mm512_add_epi16(low, high);
        v[idx + step] = _mm512_sub_epi16(low, high);
      }
}

// As whole numbers, magnitudes have the same order, and what is not finite is the largest.
HWY_INLINE __m512i Magnitudes(__m512 v) {
  return _mm512_castps_si512(_mm512_abs_ps(v));
}
HWY_INLINE float LargestMagnitude(__m512i magnitudes) {
  const int32_t bits = _mm512_reduce_max_epi32(magnitudes);
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  return largest;
}

// Of 16 columns, in both halves of 32 bits each.
HWY_INLINE __m512i InBothHalves(__m512i v) {
  return _mm512_or_si512(_mm512_and_si512(v, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32(v, 16));
}

HWY_INLINE __m512 LoadHalves(const uint8_t* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

// What input `at` of a group of 32 is multiplied by, in 16 columns, without the scales of rows.
template <int kBits>
HWY_INLINE __m512 ColumnOf(const QuantisedMatrix& weight, int64_t tile, int64_t group, int64_t at) {
  const __m512i four =
      _mm512_loadu_si512(weight.quants(tile, group) + (kBits == 8 ? at / 4 : at / 8) * 4 * kTileRows);
  const int64_t shift = at % 4 * 8 + (kBits == 4 ? at % 8 / 4 * 4 : 0);
  __m512i quant = _mm512_srl_epi32(four, _mm_cvtsi64_si128(shift));
  quant = kBits == 8 ? _mm512_srai_epi32(_mm512_slli_epi32(quant, 24), 24)
                     : _mm512_and_si512(quant, _mm512_set1_epi32(15));
  const __m512 minimum = weight.has_minimums ? LoadHalves(weight.minimums(tile, group)) : _mm512_setzero_ps();
  return _mm512_mul_ps(_mm512_add_ps(_mm512_cvtepi32_ps(quant), minimum),
                       LoadHalves(weight.scales(tile, group)));
}

// A part's values are moved up so far after four steps of the transform that they stay below 2^13; scales
// bring them below 2^12, and the three steps that are left below 2^15.
constexpr float kLargestScale = 16383.0f;
template <int kBits>
constexpr int kShift = kBits == 8 ? 1 : 4;
// Minimums beyond this many steps do not fit beside the values.
template <int kBits>
constexpr float kMostMinimum = kBits == 8 ? 500.0f : 64.0f;

// The first four steps for 32 inputs of 16 columns. to[quad] begins as inputs 4 quad + 0 and 2 of each
// column, to[8 + quad] as 4 quad + 1 and 3. The sign of input k is -1 to the power of b0 b2 + b3 b4 + b5 b6,
// by the bits of k; the last product is that of the part, and comes with its scales.
template <int kBits>
HWY_INLINE void RotatePart(const uint8_t* quants, __m512i minimums, __m512i scales, int16_t* to) {
  __m512i sums[8], differences[8];
#pragma GCC unroll 8
  for (int quad = 0; quad < 8; ++quad) {
    __m512i even, odd;
    if constexpr (kBits == 8) {
      const __m512i both = _mm512_loadu_si512(quants + 64 * quad);
      even = _mm512_srai_epi16(_mm512_slli_epi16(both, 8), 8);
      odd = _mm512_srai_epi16(both, 8);
    } else {
      __m512i both = _mm512_loadu_si512(quants + 64 * (quad / 2));
      if (quad % 2 == 1) both = _mm512_srli_epi16(both, 4);
      even = _mm512_and_si512(both, _mm512_set1_epi16(15));
      odd = _mm512_and_si512(_mm512_srli_epi16(both, 8), _mm512_set1_epi16(15));
    }
    if (quad >= 6) even = _mm512_sub_epi16(_mm512_setzero_si512(), even);
    const bool is_odd_negative = quad % 2 == 1, is_swapped = is_odd_negative != (quad >= 6);
    const __m512i sum = _mm512_add_epi16(even, odd), difference = _mm512_sub_epi16(even, odd);
    sums[quad] = is_swapped ? difference : sum;
    differences[quad] = is_swapped ? sum : difference;
  }
  Transform(sums);
  Transform(differences);
  // The transform of the signs is the signs again, four times.
#pragma GCC unroll 8
  for (int quad = 0; quad < 8; ++quad) {
    auto scaled = [&](__m512i v, bool is_negative) HWY_ATTR {
      v = _mm512_slli_epi16(v, kShift<kBits>);
      v = is_negative ? _mm512_sub_epi16(v, minimums) : _mm512_add_epi16(v, minimums);
      return _mm512_mulhrs_epi16(v, scales);
    };
    _mm512_store_si512(to + 32 * quad, scaled(sums[quad], quad >= 6));
    _mm512_store_si512(to + 32 * (8 + quad), scaled(differences[quad], (quad % 2 == 1) != (quad >= 6)));
  }
}

// The last steps, along so many parts; returns the largest magnitude of each column, in 32 bits.
template <int kCount>
HWY_INLINE __m512i JoinParts(int16_t* parts) {
  constexpr int64_t kStride = 32 * kPartVectors;
  __m512i largest = _mm512_setzero_si512();
  for (int64_t idx = 0; idx < kPartVectors; ++idx) {
    int16_t* at = parts + 32 * idx;
    __m512i v[kCount];
#pragma GCC unroll 8
    for (int part = 0; part < kCount; ++part) v[part] = _mm512_load_si512(at + part * kStride);
    Transform(v);
#pragma GCC unroll 8
    for (int part = 0; part < kCount; ++part) {
      largest = _mm512_max_epu16(largest, _mm512_abs_epi16(v[part]));
      _mm512_store_si512(at + part * kStride, v[part]);
    }
  }
  largest = _mm512_max_epu16(largest, _mm512_rol_epi32(largest, 16));
  return _mm512_and_si512(largest, _mm512_set1_epi32(0xffff));
}

// A group in a panel: pieces of four inputs of 16 columns, what a column's scale is, and what its sums start
// at, since x is moved up by 128.
struct PanelGroup {
  int32_t pieces[kQuads * kTileRows];
  float scales[kTileRows];
  int32_t starts[kTileRows];
};

HWY_INLINE void SetStarts(__m512i totals, PanelGroup& to) {
  _mm512_store_si512(to.starts, _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), totals), 7));
}

// Rounds rotated weights, parts as above, to bytes.
HWY_INLINE void RoundColumns(const int16_t* parts, int64_t quads, __m512i largest, __m512 unit,
                             PanelGroup& to) {
  // The whole number by which columns are multiplied, in 2^-15.
  const __m512 wanted = _mm512_div_ps(_mm512_set1_ps(127.0f * 32768.0f), _mm512_cvtepi32_ps(largest));
  const __m512i factor = _mm512_cvttps_epi32(_mm512_min_ps(wanted, _mm512_set1_ps(32767.0f)));
  const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(32768.0f), _mm512_cvtepi32_ps(factor));
  _mm512_store_ps(to.scales, _mm512_mul_ps(unit, inverse));
  const __m512i factors = InBothHalves(factor), low_bytes = _mm512_set1_epi16(255);
  __m512i total = _mm512_setzero_si512();
  for (int64_t quad = 0; quad < quads; ++quad) {
    const int16_t* at = parts + 32 * (quad / 8 * kPartVectors + quad % 8);
    const __m512i even = _mm512_mulhrs_epi16(_mm512_load_si512(at), factors);
    const __m512i odd = _mm512_mulhrs_epi16(_mm512_load_si512(at + 8 * 32), factors);
    const __m512i bytes = _mm512_or_si512(_mm512_and_si512(even, low_bytes), _mm512_slli_epi16(odd, 8));
    _mm512_store_si512(to.pieces + quad * kTileRows, bytes);
    total = _mm512_dpbusd_epi32(total, _mm512_set1_epi8(1), bytes);
  }
  SetStarts(total, to);
}

// A group of 16 columns where minimums are far from the values (a file's own may be), in floats.
template <int kBits>
HWY_NOINLINE void ExpandFar(const QuantisedMatrix& weight, int64_t tile, int64_t first, int64_t count,
                            int64_t width, PanelGroup& to) {
  HWY_ALIGN float columns[kLongGroup * kTileRows] = {};
  for (int64_t input = 0; input < count * kGroup; ++input)
    _mm512_store_ps(columns + input * kTileRows,
                    ColumnOf<kBits>(weight, tile, first + input / kGroup, input % kGroup));
  NegateColumns(columns, width);
  TransformColumns(columns, width);
  __m512 most = _mm512_setzero_ps();
  for (int64_t input = 0; input < width; ++input)
    most = _mm512_max_ps(most, _mm512_abs_ps(_mm512_load_ps(columns + input * kTileRows)));
  const __m512 inverse = _mm512_maskz_div_ps(_mm512_cmp_ps_mask(most, _mm512_setzero_ps(), _CMP_GT_OQ),
                                             _mm512_set1_ps(127.0f), most);
  _mm512_store_ps(to.scales, _mm512_mul_ps(most, _mm512_set1_ps(1.0f / 127.0f / rotated_length(width))));
  __m512i total = _mm512_setzero_si512();
  for (int64_t quad = 0; quad < width / 4; ++quad) {
    __m512i bytes = _mm512_setzero_si512();
    for (int64_t at = 3; at >= 0; --at) {
      const __m512 value = _mm512_mul_ps(_mm512_load_ps(columns + (quad * 4 + at) * kTileRows), inverse);
      const __m512i quant = _mm512_and_si512(_mm512_cvtps_epi32(value), _mm512_set1_epi32(255));
      bytes = _mm512_or_si512(_mm512_slli_epi32(bytes, 8), quant);
    }
    _mm512_store_si512(to.pieces + quad * kTileRows, bytes);
    total = _mm512_dpbusd_epi32(total, _mm512_set1_epi8(1), bytes);
  }
  SetStarts(total, to);
}

// The next group's weights come while this one's are expanded.
HWY_INLINE void PrefetchGroup(const QuantisedMatrix& weight, int64_t tile, int64_t first) {
  const uint8_t* next = weight.quants(tile, first);
  for (int64_t byte = 0; byte < kGroupsOfLong * (weight.quant_bytes() + weight.halves_bytes()); byte += 64)
    __builtin_prefetch(next + byte, 0, 2);
}

// A group of 16 columns of a matrix that is kept rotated.
HWY_INLINE void CopyGroup(const QuantisedMatrix& weight, int64_t tile, int64_t group, PanelGroup& to) {
  const int64_t first = group * kGroupsOfLong, quads = long_group_width(first * kGroup, weight.in) / 4;
  PrefetchGroup(weight, tile, first + kGroupsOfLong);
  const uint8_t* from = weight.quants(tile, first);
  __m512i total = _mm512_setzero_si512();
  for (int64_t quad = 0; quad < quads; ++quad) {
    const __m512i bytes = _mm512_loadu_si512(from + 64 * quad);
    _mm512_store_si512(to.pieces + quad * kTileRows, bytes);
    total = _mm512_dpbusd_epi32(total, _mm512_set1_epi8(1), bytes);
  }
  _mm512_store_ps(to.scales, LoadHalves(weight.scales(tile, first)));
  SetStarts(total, to);
}

// A group of 16 columns of one that is not.
template <int kBits>
void ExpandGroup(const QuantisedMatrix& weight, int64_t tile, int64_t group, PanelGroup& to) {
  HWY_ALIGN int16_t parts[kGroupsOfLong * kPartVectors * 32];
  const int64_t first = group * kGroupsOfLong, count = HWY_MIN(kGroupsOfLong, weight.groups() - first);
  const int64_t width = long_group_width(first * kGroup, weight.in);
  PrefetchGroup(weight, tile, first + count);
  __m512 scale[kGroupsOfLong], minimum[kGroupsOfLong];
  __m512 most = _mm512_setzero_ps(), furthest = _mm512_setzero_ps();
  for (int64_t part = 0; part < count; ++part) {
    scale[part] = LoadHalves(weight.scales(tile, first + part));
    minimum[part] =
        weight.has_minimums ? LoadHalves(weight.minimums(tile, first + part)) : _mm512_setzero_ps();
    most = _mm512_max_ps(most, _mm512_abs_ps(scale[part]));
    furthest = _mm512_max_ps(furthest, _mm512_abs_ps(minimum[part]));
  }
  if (_mm512_cmp_ps_mask(furthest, _mm512_set1_ps(kMostMinimum<kBits>), _CMP_GT_OQ) != 0)
    return ExpandFar<kBits>(weight, tile, first, count, width, to);
  const __m512 inverse = _mm512_maskz_div_ps(_mm512_cmp_ps_mask(most, _mm512_setzero_ps(), _CMP_GT_OQ),
                                             _mm512_set1_ps(kLargestScale), most);
  for (int64_t part = 0; part < width / kGroup; ++part) {
    int16_t* at = parts + part * kPartVectors * 32;
    if (part >= count) {
      std::memset(at, 0, kPartVectors * 64);
      continue;
    }
    const __m512 to_scale = part % 4 == 3 ? _mm512_sub_ps(_mm512_setzero_ps(), inverse) : inverse;
    const __m512 to_minimum = _mm512_set1_ps(4 << kShift<kBits>);
    RotatePart<kBits>(weight.quants(tile, first + part),
                      InBothHalves(_mm512_cvtps_epi32(_mm512_mul_ps(minimum[part], to_minimum))),
                      InBothHalves(_mm512_cvtps_epi32(_mm512_mul_ps(scale[part], to_scale))), at);
  }
  const __m512i largest =
      width == kLongGroup ? JoinParts<kGroupsOfLong>(parts) : JoinParts<kGroupsOfLong / 2>(parts);
  const float unit = 32768.0f / kLargestScale / (1 << kShift<kBits>) / rotated_length(width);
  RoundColumns(parts, width / 4, largest, _mm512_mul_ps(most, _mm512_set1_ps(unit)), to);
}

// Rotates and rounds a group of a row that begins at x, `count` inputs and then zeros to 16 kVectors of them,
// without magnitudes above `most`. Returns its scale, which is no number if one of them is not finite.
template <int kVectors>
HWY_INLINE float RoundRotated(const float* x, int64_t count, float most, uint8_t* to) {
  __m512 v[kVectors];
#pragma GCC unroll 16
  for (int idx = 0; idx < kVectors; ++idx) {
    const int64_t left = HWY_MAX(int64_t{0}, HWY_MIN(count - 16 * idx, int64_t{16}));
    v[idx] = _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << left) - 1), x + 16 * idx);
    const auto stays = _mm512_cmp_ps_mask(_mm512_abs_ps(v[idx]), _mm512_set1_ps(most), _CMP_NGT_UQ);
    // is_negated()
    const uint16_t negated = 0xa0a0 ^ (idx % 2 == 1 ? 0xff00 : 0) ^ (idx % 8 >= 6 ? 0xffff : 0);
    v[idx] = _mm512_maskz_mov_ps(stays, v[idx]);
    v[idx] = _mm512_mask_sub_ps(v[idx], negated, _mm512_setzero_ps(), v[idx]);
  }
  // A step along the lanes: each lane and its partner, which `swap` puts in its place; the sum in the lower.
  auto along_lanes = [&](uint16_t upper, auto swap) HWY_ATTR {
    const __m512 sign = _mm512_mask_blend_ps(upper, _mm512_set1_ps(1.0f), _mm512_set1_ps(-1.0f));
#pragma GCC unroll 16
    for (__m512& one : v) one = _mm512_fmadd_ps(one, sign, swap(one));
  };
  along_lanes(0xaaaa, [](__m512 one) HWY_ATTR { return _mm512_permute_ps(one, 0xb1); });
  along_lanes(0xf0f0, [](__m512 one) HWY_ATTR { return _mm512_shuffle_f32x4(one, one, 0xb1); });
  along_lanes(0xff00, [](__m512 one) HWY_ATTR { return _mm512_shuffle_f32x4(one, one, 0x4e); });
#pragma GCC unroll 4
  for (int step = 1; step < kVectors; step *= 2)
#pragma GCC unroll 16
    for (int idx = 0; idx < kVectors; ++idx)
      if ((idx & step) == 0) {
        const __m512 low = v[idx], high = v[idx + step];
        v[idx] = _mm512_add_ps(low, high);
        v[idx + step] = _mm512_sub_ps(low, high);
      }
  __m512i largest = _mm512_setzero_si512();
#pragma GCC unroll 16
  for (const __m512& one : v) largest = _mm512_max_epi32(largest, Magnitudes(one));
  const float scale = LargestMagnitude(largest) / 127.0f;
  // Below, 1 / scale would overflow: zeros.
  const __m512 inverse = _mm512_set1_ps(scale >= std::numeric_limits<float>::min() ? 1.0f / scale : 0.0f);
#pragma GCC unroll 16
  for (int idx = 0; idx < kVectors; ++idx) {
    const __m512i quant = _mm512_cvtps_epi32(_mm512_mul_ps(v[idx], inverse));
    const __m128i bytes = _mm_xor_si128(_mm512_cvtsepi32_epi8(quant), _mm_set1_epi8(-128));
    _mm_store_si128(reinterpret_cast<__m128i*>(to + 16 * idx), bytes);
  }
  return scale;
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();
