// What products of many rows round when both sides are rotated (kernels/rotation.h): weights to panels, x to
// rows of bytes, with AVX-512 and VNNI. Included once for that instruction set.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#include "hwy/highway.h"
#include "kernels/product.h"
#include "kernels/rotation.h"
#include "kernels/scratch.h"

// Highway 1.0.3 knows the CPUs with VNNI as AVX3_DL but does not let the compiler use it.
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
namespace vlm::kernels {
namespace HWY_NAMESPACE {

constexpr int64_t kQuads = kLongGroup / 4;        // 32-bit pieces of a group
constexpr int64_t kParts = kLongGroup / kGroup;   // groups of the stored matrix in a group here
constexpr int64_t kPartVectors = 2 * kGroup / 4;  // of 16 bits, of a part of 16 columns

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

// What input `at` of a block is multiplied by, in 16 columns, without their row scales.
template <int kBits>
HWY_INLINE __m512 ColumnOf(const QuantisedMatrix& weight, const uint8_t* block, int64_t at) {
  const uint8_t* halves = block + weight.quant_bytes();
  const __m512i four = _mm512_loadu_si512(block + (kBits == 8 ? at / 4 : at / 8) * 4 * kTileRows);
  const int64_t shift = at % 4 * 8 + (kBits == 4 ? at % 8 / 4 * 4 : 0);
  __m512i quant = _mm512_srl_epi32(four, _mm_cvtsi64_si128(shift));
  quant = kBits == 8 ? _mm512_srai_epi32(_mm512_slli_epi32(quant, 24), 24)
                     : _mm512_and_si512(quant, _mm512_set1_epi32(15));
  const __m512 minimum = weight.has_minimums ? LoadHalves(halves + 2 * kTileRows) : _mm512_setzero_ps();
  return _mm512_mul_ps(_mm512_add_ps(_mm512_cvtepi32_ps(quant), minimum), LoadHalves(halves));
}

// A part's values are moved up so far after four steps of the transform that they stay below 2^13, and the
// two steps that are left below 2^15.
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

// The last two steps, along the parts; returns the largest magnitude of each column, in 32 bits.
HWY_INLINE __m512i JoinParts(int16_t* parts) {
  constexpr int64_t kStride = 32 * kPartVectors;
  __m512i largest = _mm512_setzero_si512();
  for (int64_t idx = 0; idx < kPartVectors; ++idx) {
    int16_t* at = parts + 32 * idx;
    __m512i v[kParts];
#pragma GCC unroll 4
    for (int part = 0; part < kParts; ++part) v[part] = _mm512_load_si512(at + part * kStride);
    // -2^15 is the one sum that does not fit.
    const __m512i sum01 = _mm512_adds_epi16(v[0], v[1]), sum23 = _mm512_adds_epi16(v[2], v[3]);
    const __m512i off01 = _mm512_subs_epi16(v[0], v[1]), off23 = _mm512_subs_epi16(v[2], v[3]);
    v[0] = _mm512_adds_epi16(sum01, sum23), v[1] = _mm512_adds_epi16(off01, off23);
    v[2] = _mm512_subs_epi16(sum01, sum23), v[3] = _mm512_subs_epi16(off01, off23);
#pragma GCC unroll 4
    for (int part = 0; part < kParts; ++part) {
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

// Rounds rotated weights, parts as above, to bytes.
HWY_INLINE void RoundColumns(const int16_t* parts, __m512i largest, __m512 unit, PanelGroup& to) {
  // The whole number by which columns are multiplied, in 2^-15.
  const __m512 wanted = _mm512_div_ps(_mm512_set1_ps(127.0f * 32768.0f), _mm512_cvtepi32_ps(largest));
  const __m512i factor = _mm512_cvttps_epi32(_mm512_min_ps(wanted, _mm512_set1_ps(32767.0f)));
  const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(32768.0f), _mm512_cvtepi32_ps(factor));
  _mm512_store_ps(to.scales, _mm512_mul_ps(unit, inverse));
  const __m512i factors = InBothHalves(factor), low_bytes = _mm512_set1_epi16(255);
  __m512i total = _mm512_setzero_si512();
  for (int64_t quad = 0; quad < kQuads; ++quad) {
    const int16_t* at = parts + 32 * (quad / 8 * kPartVectors + quad % 8);
    const __m512i even = _mm512_mulhrs_epi16(_mm512_load_si512(at), factors);
    const __m512i odd = _mm512_mulhrs_epi16(_mm512_load_si512(at + 8 * 32), factors);
    const __m512i bytes = _mm512_or_si512(_mm512_and_si512(even, low_bytes), _mm512_slli_epi16(odd, 8));
    _mm512_store_si512(to.pieces + quad * kTileRows, bytes);
    total = _mm512_dpbusd_epi32(total, _mm512_set1_epi8(1), bytes);
  }
  _mm512_store_si512(to.starts, _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), total), 7));
}

// A group of 16 columns where minimums are far from the values (a file's own may be), in floats.
template <int kBits>
HWY_NOINLINE void ExpandFar(const QuantisedMatrix& weight, int64_t tile, int64_t first, int64_t count,
                            PanelGroup& to) {
  HWY_ALIGN float columns[kLongGroup][kTileRows] = {};
  for (int64_t input = 0; input < count * kGroup; ++input) {
    const uint8_t* block = weight.block(tile, first + input / kGroup);
    const __m512 value = ColumnOf<kBits>(weight, block, input % kGroup);
    _mm512_store_ps(columns[input], is_negated(input) ? _mm512_sub_ps(_mm512_setzero_ps(), value) : value);
  }
  for (int64_t step : kRotatedBits)
    for (int64_t input = 0; input < kLongGroup; ++input) {
      if ((input & step) != 0) continue;
      const __m512 low = _mm512_load_ps(columns[input]), high = _mm512_load_ps(columns[input + step]);
      _mm512_store_ps(columns[input], _mm512_add_ps(low, high));
      _mm512_store_ps(columns[input + step], _mm512_sub_ps(low, high));
    }
  __m512 most = _mm512_setzero_ps();
  for (auto& column : columns) most = _mm512_max_ps(most, _mm512_abs_ps(_mm512_load_ps(column)));
  const __m512 inverse = _mm512_maskz_div_ps(_mm512_cmp_ps_mask(most, _mm512_setzero_ps(), _CMP_GT_OQ),
                                             _mm512_set1_ps(127.0f), most);
  _mm512_store_ps(to.scales, _mm512_mul_ps(most, _mm512_set1_ps(1.0f / 127.0f / kRotatedLength)));
  __m512i total = _mm512_setzero_si512();
  for (int64_t quad = 0; quad < kQuads; ++quad) {
    __m512i bytes = _mm512_setzero_si512();
    for (int64_t at = 3; at >= 0; --at) {
      const __m512 value = _mm512_mul_ps(_mm512_load_ps(columns[quad * 4 + at]), inverse);
      const __m512i quant = _mm512_and_si512(_mm512_cvtps_epi32(value), _mm512_set1_epi32(255));
      bytes = _mm512_or_si512(_mm512_slli_epi32(bytes, 8), quant);
    }
    _mm512_store_si512(to.pieces + quad * kTileRows, bytes);
    total = _mm512_dpbusd_epi32(total, _mm512_set1_epi8(1), bytes);
  }
  _mm512_store_si512(to.starts, _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), total), 7));
}

// A group of 16 columns.
template <int kBits>
void ExpandGroup(const QuantisedMatrix& weight, int64_t tile, int64_t group, PanelGroup& to) {
  HWY_ALIGN int16_t parts[kParts * kPartVectors * 32];
  const int64_t first = group * kParts, count = HWY_MIN(kParts, weight.groups() - first);
  // The next group's weights come while this one's are rotated.
  const uint8_t* next = weight.block(tile, first + count);
  for (int64_t byte = 0; byte < kParts * weight.block_bytes(); byte += 64)
    __builtin_prefetch(next + byte, 0, 2);
  __m512 scale[kParts], minimum[kParts];
  __m512 most = _mm512_setzero_ps(), furthest = _mm512_setzero_ps();
  for (int64_t part = 0; part < kParts; ++part) {
    scale[part] = minimum[part] = _mm512_setzero_ps();
    if (part >= count) continue;
    const uint8_t* halves = weight.block(tile, first + part) + weight.quant_bytes();
    scale[part] = LoadHalves(halves);
    if (weight.has_minimums) minimum[part] = LoadHalves(halves + 2 * kTileRows);
    most = _mm512_max_ps(most, _mm512_abs_ps(scale[part]));
    furthest = _mm512_max_ps(furthest, _mm512_abs_ps(minimum[part]));
  }
  if (_mm512_cmp_ps_mask(furthest, _mm512_set1_ps(kMostMinimum<kBits>), _CMP_GT_OQ) != 0)
    return ExpandFar<kBits>(weight, tile, first, count, to);
  const __m512 inverse = _mm512_maskz_div_ps(_mm512_cmp_ps_mask(most, _mm512_setzero_ps(), _CMP_GT_OQ),
                                             _mm512_set1_ps(32767.0f), most);
  for (int64_t part = 0; part < kParts; ++part) {
    int16_t* at = parts + part * kPartVectors * 32;
    if (part >= count) {
      std::memset(at, 0, kPartVectors * 64);
      continue;
    }
    const __m512 to_scale = part == 3 ? _mm512_sub_ps(_mm512_setzero_ps(), inverse) : inverse;
    const __m512 to_minimum = _mm512_set1_ps(4 << kShift<kBits>);
    RotatePart<kBits>(weight.block(tile, first + part),
                      InBothHalves(_mm512_cvtps_epi32(_mm512_mul_ps(minimum[part], to_minimum))),
                      InBothHalves(_mm512_cvtps_epi32(_mm512_mul_ps(scale[part], to_scale))), at);
  }
  const __m512i largest = JoinParts(parts);
  constexpr float kUnit = 32768.0f / 32767.0f / (1 << kShift<kBits>) / kRotatedLength;
  RoundColumns(parts, largest, _mm512_mul_ps(most, _mm512_set1_ps(kUnit)), to);
}

// Rotates and rounds a group of a row that begins at x, `count` inputs and then zeros, without magnitudes
// above `most`. Returns its scale, which is no number if one of them is not finite.
HWY_INLINE float RoundRotated(const float* x, int64_t count, float most, uint8_t* to) {
  __m512 v[8];
#pragma GCC unroll 8
  for (int idx = 0; idx < 8; ++idx) {
    const int64_t left = HWY_MAX(int64_t{0}, HWY_MIN(count - 16 * idx, int64_t{16}));
    v[idx] = _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << left) - 1), x + 16 * idx);
    const auto stays = _mm512_cmp_ps_mask(_mm512_abs_ps(v[idx]), _mm512_set1_ps(most), _CMP_NGT_UQ);
    const uint16_t negated = 0xa0a0 ^ (idx % 2 == 1 ? 0xff00 : 0) ^ (idx >= 6 ? 0xffff : 0);  // is_negated()
    v[idx] = _mm512_maskz_mov_ps(stays, v[idx]);
    v[idx] = _mm512_mask_sub_ps(v[idx], negated, _mm512_setzero_ps(), v[idx]);
  }
  // A step along the lanes: each lane and its partner, which `swap` puts in its place; the sum in the lower.
  auto along_lanes = [&](uint16_t upper, auto swap) HWY_ATTR {
    const __m512 sign = _mm512_mask_blend_ps(upper, _mm512_set1_ps(1.0f), _mm512_set1_ps(-1.0f));
#pragma GCC unroll 8
    for (__m512& one : v) one = _mm512_fmadd_ps(one, sign, swap(one));
  };
  along_lanes(0xaaaa, [](__m512 one) HWY_ATTR { return _mm512_permute_ps(one, 0xb1); });
  along_lanes(0xf0f0, [](__m512 one) HWY_ATTR { return _mm512_shuffle_f32x4(one, one, 0xb1); });
  along_lanes(0xff00, [](__m512 one) HWY_ATTR { return _mm512_shuffle_f32x4(one, one, 0x4e); });
#pragma GCC unroll 3
  for (int step = 1; step < 8; step *= 2)
#pragma GCC unroll 8
    for (int idx = 0; idx < 8; ++idx)
      if ((idx & step) == 0) {
        const __m512 low = v[idx], high = v[idx + step];
        v[idx] = _mm512_add_ps(low, high);
        v[idx + step] = _mm512_sub_ps(low, high);
      }
  __m512i largest = _mm512_setzero_si512();
#pragma GCC unroll 8
  for (const __m512& one : v) largest = _mm512_max_epi32(largest, Magnitudes(one));
  const float scale = LargestMagnitude(largest) / 127.0f;
  // Below, 1 / scale would overflow: zeros.
  const __m512 inverse = _mm512_set1_ps(scale >= std::numeric_limits<float>::min() ? 1.0f / scale : 0.0f);
#pragma GCC unroll 8
  for (int idx = 0; idx < 8; ++idx) {
    const __m512i quant = _mm512_cvtps_epi32(_mm512_mul_ps(v[idx], inverse));
    const __m128i bytes = _mm_xor_si128(_mm512_cvtsepi32_epi8(quant), _mm_set1_epi8(-128));
    _mm_store_si128(reinterpret_cast<__m128i*>(to + 16 * idx), bytes);
  }
  return scale;
}

// A few rows may hold an input or two of hundreds or thousands of times their mean (massive activations,
// arXiv:2402.17762). What rounding takes off these would be all that is wrong with their outputs: they are
// multiplied in floats. So many times, ...
constexpr float kMassive = 64.0f;
// ... and in no more inputs than this: what lies in many is not rare, and rotation spreads it.
constexpr size_t kMostMassiveInputs = 32;
struct Massive {
  int64_t input, row;
  float value;
};

// The magnitude above which inputs of each row are massive: infinity for most.
void FindMassive(const Product& product, int64_t in, float* above, std::vector<Massive>& found) {
  for_each_balanced(product.rows, 2 * product.rows * in, [=](int64_t row) {
    const float* x = product.x + row * product.x_stride;
    __m512 sum = _mm512_setzero_ps();
    __m512i largest = _mm512_setzero_si512();
    for (int64_t idx = 0; idx < in; idx += 16) {
      const auto there = static_cast<__mmask16>(in - idx >= 16 ? 0xffff : (1u << (in - idx)) - 1);
      const __m512i magnitude = Magnitudes(_mm512_maskz_loadu_ps(there, x + idx));
      largest = _mm512_max_epi32(largest, magnitude);
      sum = _mm512_add_ps(sum, _mm512_castsi512_ps(magnitude));
    }
    const float limit = kMassive * _mm512_reduce_add_ps(sum) / static_cast<float>(in);
    const bool is_massive = LargestMagnitude(largest) > limit;  // not of what is not finite
    above[row] = is_massive ? limit : std::numeric_limits<float>::infinity();
  });
  found.clear();
  for (int64_t row = 0; row < product.rows; ++row) {
    if (std::isinf(above[row])) continue;
    const float* x = product.x + row * product.x_stride;
    for (int64_t input = 0; input < in; ++input)
      if (std::fabs(x[input]) > above[row]) found.push_back({input, row, x[input]});
  }
  std::sort(found.begin(), found.end(), [](const Massive& left, const Massive& right) {
    return std::tie(left.input, left.row) < std::tie(right.input, right.row);
  });
  size_t inputs = 0;
  for (size_t idx = 0; idx < found.size(); ++idx)
    inputs += idx == 0 || found[idx].input != found[idx - 1].input ? 1 : 0;
  if (inputs <= kMostMassiveInputs) return;
  found.clear();
  std::fill_n(above, product.rows, std::numeric_limits<float>::infinity());
}

// Adds what massive inputs are multiplied by.
void AddMassive(const std::vector<Massive>& found, const Product& product, const QuantisedMatrix& weight) {
  if (found.empty()) return;
  for_each_balanced(weight.tiles(), 8 * weight.out * static_cast<int64_t>(found.size()), [&](int64_t tile) {
    HWY_ALIGN float column[kTileRows];
    const int64_t valid = HWY_MIN(kTileRows, weight.out - tile * kTileRows);
    for (size_t idx = 0; idx < found.size(); ++idx) {
      const auto& [input, row, value] = found[idx];
      if (idx == 0 || input != found[idx - 1].input) {
        const uint8_t* block = weight.block(tile, input / kGroup);
        const __m512 weights = weight.bits == 8 ? ColumnOf<8>(weight, block, input % kGroup)
                                                : ColumnOf<4>(weight, block, input % kGroup);
        _mm512_store_ps(column,
                        _mm512_mul_ps(weights, _mm512_loadu_ps(weight.row_scales + tile * kTileRows)));
      }
      float* y = product.y + row * product.y_stride + tile * kTileRows;
      for (int64_t col = 0; col < valid; ++col) y[col] += value * column[col];
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();
