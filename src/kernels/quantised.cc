#include "kernels/quantised.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantised.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/load-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

using DFloat = hn::CappedTag<float, 16>;

struct Range {
  float low, high;
};

template <typename T>
Range GroupRange(const T* values) {
  const DFloat d;
  auto low = LoadFloats(d, values), high = low;
  for (size_t idx = hn::Lanes(d); idx < kGroup; idx += hn::Lanes(d)) {
    auto v = LoadFloats(d, values + idx);
    low = hn::Min(low, v);
    high = hn::Max(high, v);
  }
  return {hn::GetLane(hn::MinOfLanes(d, low)), hn::GetLane(hn::MaxOfLanes(d, high))};
}

// Nearest of low .. high to (value - minimum) / scale, as bytes.
template <typename T>
void RoundGroup(const T* values, float scale, float minimum, float low, float high, int8_t* quants) {
  const DFloat d;
  const hn::Rebind<int8_t, DFloat> d_bytes;
  auto inverse = hn::Set(d, scale > 0 ? 1.0f / scale : 0.0f);
  for (size_t idx = 0; idx < kGroup; idx += hn::Lanes(d)) {
    auto v = hn::Mul(hn::Sub(LoadFloats(d, values + idx), hn::Set(d, minimum)), inverse);
    v = hn::Min(hn::Max(v, hn::Set(d, low)), hn::Set(d, high));
    hn::StoreU(hn::DemoteTo(d_bytes, hn::NearestInt(v)), d_bytes, quants + idx);
  }
}

template <typename T>
void RangesOf(const void* row, int64_t groups, float* lows, float* highs) {
  for (int64_t group = 0; group < groups; ++group) {
    Range range = GroupRange(static_cast<const T*>(row) + group * kGroup);
    lows[group] = range.low;
    highs[group] = range.high;
  }
}

void RowRanges(const void* row, Float type, int64_t groups, float* lows, float* highs) {
  switch (type) {
    case Float::f32:
      return RangesOf<float>(row, groups, lows, highs);
    case Float::bf16:
      return RangesOf<hwy::bfloat16_t>(row, groups, lows, highs);
    case Float::f16:
      return RangesOf<hwy::float16_t>(row, groups, lows, highs);
  }
}

template <typename T>
void RoundRow(const void* row, int bits, int64_t groups, const float* scales, const float* minimums,
              int8_t* quants) {
  for (int64_t group = 0; group < groups; ++group) {
    const T* values = static_cast<const T*>(row) + group * kGroup;
    int8_t* to = quants + group * kGroup;
    if (bits == 8) RoundGroup(values, scales[group], 0.0f, -127.0f, 127.0f, to);
    if (bits == 4) RoundGroup(values, scales[group], minimums[group], 0.0f, 15.0f, to);
  }
}

void Round(const void* row, Float type, int bits, int64_t groups, const float* scales, const float* minimums,
           int8_t* quants) {
  switch (type) {
    case Float::f32:
      return RoundRow<float>(row, bits, groups, scales, minimums, quants);
    case Float::bf16:
      return RoundRow<hwy::bfloat16_t>(row, bits, groups, scales, minimums, quants);
    case Float::f16:
      return RoundRow<hwy::float16_t>(row, bits, groups, scales, minimums, quants);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(RowRanges);
HWY_EXPORT(Round);

namespace {

// float16 reaches from 2^-14 to 2^16; the largest number of a row is brought to 2^14 .. 2^15.
float power_of_two_for(float largest) {
  if (!(largest > 0) || !std::isfinite(largest)) return 1.0f;
  return std::ldexp(1.0f, std::clamp(std::ilogb(largest) - 14, -100, 100));
}

float largest_of(const float* values, int64_t count) {
  float largest = 0;
  for (int64_t idx = 0; values && idx < count; ++idx) largest = std::max(largest, std::fabs(values[idx]));
  return largest;
}

uint16_t read_half(const uint8_t* from, int64_t idx) {
  uint16_t bits;
  std::memcpy(&bits, from + 2 * idx, 2);
  return bits;
}

void write_half(uint8_t* to, int64_t idx, uint16_t bits) {
  std::memcpy(to + 2 * idx, &bits, 2);
}

// One row of a tile, its quants as one byte each.
struct Row {
  const QuantisedMatrix& matrix;
  int64_t tile, row;

  // Rounds scales and minimums to what will be stored, in place.
  void write_scales(float* scales, float* minimums) const {
    int64_t groups = matrix.groups();
    float row_scale = power_of_two_for(
        std::max(largest_of(scales, groups), matrix.has_minimums ? largest_of(minimums, groups) : 0.0f));
    matrix.row_scales[tile * kTileRows + row] = row_scale;
    for (int64_t group = 0; group < groups; ++group) {
      uint8_t* at = matrix.block(tile, group) + matrix.quant_bytes();
      auto store = [&](float& value, uint8_t* to) {
        uint16_t half = float_to_half(value / row_scale);
        write_half(to, row, half);
        value = half_to_float(half) * row_scale;
      };
      store(scales[group], at);
      if (matrix.has_minimums) store(minimums[group], at + 2 * kTileRows);
    }
  }

  void read_scales(float* scales, float* minimums) const {
    float row_scale = matrix.row_scales[tile * kTileRows + row];
    for (int64_t group = 0; group < matrix.groups(); ++group) {
      const uint8_t* at = matrix.block(tile, group) + matrix.quant_bytes();
      scales[group] = half_to_float(read_half(at, row)) * row_scale;
      if (matrix.has_minimums)
        minimums[group] = half_to_float(read_half(at + 2 * kTileRows, row)) * row_scale;
    }
  }

  void write_quants(const int8_t* quants) const {
    for (int64_t group = 0; group < matrix.groups(); ++group, quants += kGroup) {
      uint8_t* block = matrix.block(tile, group) + row * 4;
      if (matrix.bits == 8) {
        for (int64_t quad = 0; quad < 8; ++quad)
          std::memcpy(block + quad * 4 * kTileRows, quants + quad * 4, 4);
      } else {
        for (int64_t pair = 0; pair < 4; ++pair)
          for (int64_t idx = 0; idx < 4; ++idx)
            block[pair * 4 * kTileRows + idx] =
                static_cast<uint8_t>(quants[pair * 8 + idx] | quants[pair * 8 + 4 + idx] << 4);
      }
    }
  }

  void read_quants(int8_t* quants) const {
    for (int64_t group = 0; group < matrix.groups(); ++group, quants += kGroup) {
      const uint8_t* block = matrix.block(tile, group) + row * 4;
      if (matrix.bits == 8) {
        for (int64_t quad = 0; quad < 8; ++quad)
          std::memcpy(quants + quad * 4, block + quad * 4 * kTileRows, 4);
      } else {
        for (int64_t pair = 0; pair < 4; ++pair)
          for (int64_t idx = 0; idx < 4; ++idx) {
            uint8_t byte = block[pair * 4 * kTileRows + idx];
            quants[pair * 8 + idx] = static_cast<int8_t>(byte & 15);
            quants[pair * 8 + 4 + idx] = static_cast<int8_t>(byte >> 4);
          }
      }
    }
  }
};

// body(row, index of the row, scales, minimums, quants of one row as bytes), in parallel; the buffers are
// zero beyond the last row.
template <typename Body>
void for_each_row(const QuantisedMatrix& matrix, const Body& body) {
  int64_t groups = matrix.groups();
  for_each_balanced(matrix.tiles(), 8 * matrix.padded_out() * matrix.in, [&](int64_t tile) {
    static thread_local Scratch scratch;
    float* scales = scratch.get<float>(2 * groups + matrix.in / 4);
    float* minimums = scales + groups;
    int8_t* quants = reinterpret_cast<int8_t*>(minimums + groups);
    for (int64_t row = 0; row < kTileRows; ++row) {
      int64_t idx = tile * kTileRows + row;
      if (idx >= matrix.out) std::memset(scales, 0, static_cast<size_t>(groups * 8 + matrix.in));
      body(Row{matrix, tile, row}, idx, scales, minimums, quants);
    }
  });
}

}  // namespace

void quantise(const void* weights, Float type, int64_t row_stride, const QuantisedMatrix& to) {
  int64_t groups = to.groups();
  for_each_row(to, [&](const Row& at, int64_t idx, float* scales, float* minimums, int8_t* quants) {
    if (idx >= to.out) {
      at.write_scales(scales, minimums);
      return at.write_quants(quants);
    }
    const void* row = static_cast<const uint8_t*>(weights) + idx * row_stride * (type == Float::f32 ? 4 : 2);
    HWY_DYNAMIC_DISPATCH(RowRanges)(row, type, groups, minimums, scales);
    for (int64_t group = 0; group < groups; ++group)
      scales[group] = to.bits == 8 ? std::max(-minimums[group], scales[group]) / 127.0f
                                   : (scales[group] - minimums[group]) / 15.0f;
    at.write_scales(scales, minimums);
    HWY_DYNAMIC_DISPATCH(Round)(row, type, to.bits, groups, scales, minimums, quants);
    at.write_quants(quants);
  });
}

void pack_groups(const void* quants, const float* scales, const float* minimums, int64_t groups_per_row,
                 const QuantisedMatrix& to) {
  int64_t repeat = to.groups() / groups_per_row;
  for_each_row(to, [&](const Row& at, int64_t idx, float* row_scales, float* row_minimums, int8_t* bytes) {
    if (idx < to.out) {
      for (int64_t group = 0; group < to.groups(); ++group) {
        int64_t from = idx * groups_per_row + group / repeat;
        row_scales[group] = scales[from];
        row_minimums[group] = minimums ? minimums[from] : 0.0f;
      }
      if (to.bits == 8) {
        std::memcpy(bytes, static_cast<const int8_t*>(quants) + idx * to.in, static_cast<size_t>(to.in));
      } else {
        const uint8_t* row = static_cast<const uint8_t*>(quants) + idx * to.in / 2;
        for (int64_t pair = 0; pair < to.in / 2; ++pair) {
          bytes[2 * pair] = static_cast<int8_t>(row[pair] & 15);
          bytes[2 * pair + 1] = static_cast<int8_t>(row[pair] >> 4);
        }
      }
    }
    at.write_scales(row_scales, row_minimums);
    at.write_quants(bytes);
  });
}

void unpack_groups(const QuantisedMatrix& from, void* quants, float* scales, float* minimums) {
  for_each_row(from, [&](const Row& at, int64_t idx, float* row_scales, float* row_minimums, int8_t* bytes) {
    if (idx >= from.out) return;
    at.read_scales(row_scales, row_minimums);
    at.read_quants(bytes);
    std::copy_n(row_scales, from.groups(), scales + idx * from.groups());
    if (from.has_minimums) std::copy_n(row_minimums, from.groups(), minimums + idx * from.groups());
    if (from.bits == 8) {
      std::copy_n(bytes, from.in, static_cast<int8_t*>(quants) + idx * from.in);
    } else {
      uint8_t* row = static_cast<uint8_t*>(quants) + idx * from.in / 2;
      for (int64_t pair = 0; pair < from.in / 2; ++pair)
        row[pair] = static_cast<uint8_t>(bytes[2 * pair] | bytes[2 * pair + 1] << 4);
    }
  });
}

void dequantise(const QuantisedMatrix& from, float* weights) {
  for_each_row(from, [&](const Row& at, int64_t idx, float* scales, float* minimums, int8_t* bytes) {
    if (idx >= from.out) return;
    at.read_scales(scales, minimums);
    at.read_quants(bytes);
    float* row = weights + idx * from.in;
    for (int64_t col = 0; col < from.in; ++col) {
      float value = bytes[col] * scales[col / kGroup];
      row[col] = from.has_minimums ? value + minimums[col / kGroup] : value;
    }
  });
}

}  // namespace vlm::kernels
#endif
