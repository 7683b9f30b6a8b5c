// A file's groups and those of the kernels, and what either stands for.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "kernels/quantised.h"
#include "kernels/row_scale.h"
#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantised_groups.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/rotation-inl.h"
#include "kernels/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

using DFloat = hn::CappedTag<float, 16>;
constexpr int64_t kLanes = HWY_MIN(HWY_LANES(float), 16);

void DequantiseRotatedTile(const QuantisedMatrix& from, int64_t tile, float* weights) {
  HWY_ALIGN float columns[kLongGroup * kTileRows];
  HWY_ALIGN float scales[kTileRows];
  const DFloat d;
  const hn::Rebind<hwy::float16_t, DFloat> d_half;
  const int64_t valid = HWY_MIN(kTileRows, from.out - tile * kTileRows);
  for (int64_t first = 0; first < from.in; first += kLongGroup) {
    const int64_t width = long_group_width(first, from.in), count = HWY_MIN(width, from.in - first);
    const auto* halves = reinterpret_cast<const hwy::float16_t*>(from.scales(tile, first / kGroup));
    for (int64_t lane = 0; lane < kTileRows; lane += kLanes)
      hn::Store(hn::Mul(hn::PromoteTo(d, hn::LoadU(d_half, halves + lane)),
                        hn::LoadU(d, from.row_scales + tile * kTileRows + lane)),
                d, scales + lane);
    for (int64_t input = 0; input < width; ++input) {
      const uint8_t* quad = from.quants(tile, (first + input) / kGroup) + input % kGroup / 4 * 4 * kTileRows;
      for (int64_t row = 0; row < kTileRows; ++row)
        columns[input * kTileRows + row] =
            static_cast<float>(static_cast<int8_t>(quad[row * 4 + input % 4])) * scales[row];
    }
    TransformColumns(columns, width);
    NegateColumns(columns, width);
    for (int64_t row = 0; row < valid; ++row)
      for (int64_t input = 0; input < count; ++input)
        weights[(tile * kTileRows + row) * from.in + first + input] = columns[input * kTileRows + row];
  }
}

// Within 8 values of 4 bits: 0 1 2 3 4 5 6 7 of a file <-> 0 4 1 5 2 6 3 7 of a block.
HWY_INLINE uint32_t SwapBytes(uint32_t v) {
  return (v & 0xff0000ffu) | (v & 0x00ff0000u) >> 8 | (v & 0x0000ff00u) << 8;
}
HWY_INLINE uint32_t SwapNibbles(uint32_t v) {
  return (v & 0xf00ff00fu) | (v & 0x0f000f00u) >> 4 | (v & 0x00f000f0u) << 4;
}

// Quants of one tile, rows of words of 4 bytes each, to and from blocks. Floats only carry bits here.
void PackTile(const void* quants, const QuantisedMatrix& to, int64_t tile) {
  const int64_t words = to.quant_bytes() / (4 * kTileRows), stride = to.in * to.bits / 32;
  const int64_t valid = HWY_MIN(kTileRows, to.out - tile * kTileRows);
  const float* rows = static_cast<const float*>(quants) + tile * kTileRows * stride;
  HWY_ALIGN float columns[8 * kTileRows] = {};
  for (int64_t group = 0; group < to.groups(); ++group) {
    const int64_t count = HWY_MIN(words, stride - group * words);
    if (count < words) std::memset(columns, 0, sizeof columns);
    Transpose(rows + group * words, stride, valid, count, columns, kTileRows);
    uint8_t* block = to.quants(tile, group);
    std::memcpy(block, columns, static_cast<size_t>(to.quant_bytes()));
    if (to.bits == 8) continue;
    uint32_t all[4 * kTileRows];
    std::memcpy(all, block, sizeof all);
    for (uint32_t& word : all) word = SwapNibbles(SwapBytes(word));
    std::memcpy(block, all, sizeof all);
  }
}

void UnpackTile(const QuantisedMatrix& from, void* quants, int64_t tile) {
  const int64_t words = from.quant_bytes() / (4 * kTileRows), stride = from.in * from.bits / 32;
  const int64_t valid = HWY_MIN(kTileRows, from.out - tile * kTileRows);
  uint8_t* rows = static_cast<uint8_t*>(quants) + tile * kTileRows * stride * 4;
  for (int64_t group = 0; group < from.groups(); ++group) {
    uint32_t all[8 * kTileRows];
    std::memcpy(all, from.quants(tile, group), static_cast<size_t>(from.quant_bytes()));
    for (int64_t row = 0; row < valid; ++row)
      for (int64_t word = 0; word < HWY_MIN(words, stride - group * words); ++word) {
        uint32_t value = all[word * kTileRows + row];
        if (from.bits == 4) value = SwapBytes(SwapNibbles(value));
        std::memcpy(rows + (row * stride + group * words + word) * 4, &value, 4);
      }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(DequantiseRotatedTile);
HWY_EXPORT(PackTile);
HWY_EXPORT(UnpackTile);

namespace {

float largest_of(const float* values, int64_t count) {
  float largest = 0;
  for (int64_t idx = 0; values && idx < count; ++idx) largest = std::max(largest, std::fabs(values[idx]));
  return largest;
}

void write_half(uint8_t* to, int64_t idx, float value) {
  uint16_t bits = float_to_half(value);
  std::memcpy(to + 2 * idx, &bits, 2);
}

// Scales and minimums of one row, at its place in the blocks.
void pack_row_scales(const float* scales, const float* minimums, int64_t groups_per_row,
                     const QuantisedMatrix& to, int64_t tile, int64_t row) {
  const int64_t idx = tile * kTileRows + row, repeat = to.groups() / groups_per_row;
  const bool is_row = idx < to.out;
  if (is_row) scales += idx * groups_per_row;
  if (is_row && minimums) minimums += idx * groups_per_row;
  float largest =
      is_row ? std::max(largest_of(scales, groups_per_row), largest_of(minimums, groups_per_row)) : 0.0f;
  float row_scale = row_scale_of(largest), inverse = 1.0f / row_scale;
  to.row_scales[idx] = row_scale;
  for (int64_t group = 0; group < to.groups(); ++group) {
    uint8_t* block = to.quants(tile, group);
    uint8_t* at = to.scales(tile, group);
    write_half(at, row, is_row ? scales[group / repeat] * inverse : 0.0f);
    if (!to.has_minimums) continue;
    const float scale = scale_at(at, row),
                minimum = is_row && minimums ? minimums[group / repeat] * inverse : 0;
    float steps = scale != 0 ? minimum / scale : 0.0f;
    if (std::fabs(minimum) > kMostSteps * std::fabs(scale)) {
      write_half(at, row, -minimum);
      steps = -1.0f;
      for (int64_t word = 0; word < to.quant_bytes(); word += 4 * kTileRows)
        std::memset(block + word + 4 * row, 0, 4);
    }
    write_half(at + 2 * kTileRows, row, steps);
  }
}

template <typename Body>
void for_each_tile(const QuantisedMatrix& matrix, const Body& body) {
  for_each_balanced(matrix.tiles(), 8 * matrix.padded_out() * matrix.in, body);
}

}  // namespace

void pack_groups(const void* quants, const float* scales, const float* minimums, int64_t groups_per_row,
                 const QuantisedMatrix& to) {
  for_each_tile(to, [&](int64_t tile) {
    HWY_DYNAMIC_DISPATCH(PackTile)(quants, to, tile);
    for (int64_t row = 0; row < kTileRows; ++row)
      pack_row_scales(scales, minimums, groups_per_row, to, tile, row);
  });
}

void unpack_groups(const QuantisedMatrix& from, void* quants, float* scales, float* minimums) {
  for_each_tile(from, [&](int64_t tile) {
    HWY_DYNAMIC_DISPATCH(UnpackTile)(from, quants, tile);
    const int64_t valid = std::min(kTileRows, from.out - tile * kTileRows);
    for (int64_t group = 0; group < from.groups(); ++group) {
      const uint8_t* at = from.scales(tile, group);
      for (int64_t row = 0; row < valid; ++row) {
        const int64_t idx = tile * kTileRows + row;
        const float scale = scale_at(at, row) * from.row_scales[idx];
        scales[idx * from.groups() + group] = scale;
        if (from.has_minimums)
          minimums[idx * from.groups() + group] = scale_at(at + 2 * kTileRows, row) * scale;
      }
    }
  });
}

void dequantise(const QuantisedMatrix& from, float* weights) {
  for_each_tile(from, [&](int64_t tile) {
    if (from.is_rotated) return HWY_DYNAMIC_DISPATCH(DequantiseRotatedTile)(from, tile, weights);
    const int64_t valid = std::min(kTileRows, from.out - tile * kTileRows);
    for (int64_t group = 0; group < from.groups(); ++group) {
      const uint8_t* block = from.quants(tile, group);
      const uint8_t* at = from.scales(tile, group);
      for (int64_t row = 0; row < valid; ++row) {
        const int64_t idx = tile * kTileRows + row;
        const float scale = scale_at(at, row) * from.row_scales[idx];
        const float minimum = from.has_minimums ? scale_at(at + 2 * kTileRows, row) : 0.0f;
        float* to = weights + idx * from.in + group * kGroup;
        for (int64_t col = 0; col < from.inputs_of(group); ++col) {
          const uint8_t* quad = block + (from.bits == 8 ? col / 4 : col / 8) * 4 * kTileRows + row * 4;
          int32_t quant =
              from.bits == 8 ? static_cast<int8_t>(quad[col % 4]) : quad[col % 4] >> (col % 8 / 4 * 4) & 15;
          to[col] = (static_cast<float>(quant) + minimum) * scale;
        }
      }
    }
  });
}

}  // namespace vlm::kernels
#endif
