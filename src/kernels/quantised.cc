#include "kernels/quantised.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/row_scale.h"
#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantised.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/load-inl.h"
#include "kernels/rotation-inl.h"
#include "kernels/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

// Lanes are rows of a tile: nothing is added up across a vector, and what a block holds for 16 rows side by
// side is stored as it comes out of the registers.
using DFloat = hn::CappedTag<float, 16>;
using DInt = hn::RebindToSigned<DFloat>;
using DWord = hn::RebindToUnsigned<DFloat>;
using VFloat = hn::Vec<DFloat>;
using VInt = hn::Vec<DInt>;
constexpr int64_t kLanes = HWY_MIN(HWY_LANES(float), 16);

// Adding it rounds a float of at most 2^22 to the nearest integer, ties to even, in its low bits.
constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23

// Steps in which the range of a group is cut, as candidates for 4 bits. More than 15 clips the largest value,
// fewer leave room above it; either may fit the values between better. With the line fitted to each, five
// take 17 % off the squared error of the plain range on normal and heavy-tailed weights, eight with a
// second pass 20 %. 15 must be among them: weights that were rounded to 16 values before stay what they are.
constexpr float kSteps[] = {14.0f, 14.5f, 15.0f, 15.5f, 16.0f};
constexpr float kManySteps[] = {13.5f, 14.0f, 14.5f, 15.0f, 15.5f, 16.0f, 16.5f, 17.0f};
// The same for 8 bits, where only errors of unequal weight make a search worth while.
constexpr float kSymmetricSteps[] = {126.0f, 126.5f, 127.0f, 127.5f, 128.0f};

// value = quant * scale + minimum, of kLanes groups side by side.
struct Line {
  VFloat scale, minimum;
};

HWY_INLINE VFloat InverseOrZero(VFloat v) {
  const DFloat d;
  return hn::IfThenElseZero(hn::Gt(hn::Abs(v), hn::Zero(d)), hn::Div(hn::Set(d, 1.0f), v));
}

struct Range {
  VFloat low, high;
};

// Less `low`, in place: what is fitted below are differences, not what they lie on.
HWY_INLINE void Subtract(VFloat low, float* columns) {
  const DFloat d;
  for (int64_t col = 0; col < kGroup; ++col)
    hn::Store(hn::Sub(hn::Load(d, columns + col * kTileRows), low), d, columns + col * kTileRows);
}

HWY_INLINE Range RangeOf(const float* columns) {
  const DFloat d;
  VFloat low = hn::Load(d, columns), high = low;
#pragma GCC unroll 4
  for (int64_t col = 1; col < kGroup; ++col) {
    VFloat v = hn::Load(d, columns + col * kTileRows);
    low = hn::Min(low, v);
    high = hn::Max(high, v);
  }
  return {low, high};
}

// A minimum in whole eighths of a step, and whether 8 * quant + eighths is a byte for every quant.
struct Eighths {
  VFloat steps;
  hn::Mask<DFloat> fit;
};
HWY_INLINE Eighths EighthsOf(VFloat steps) {
  const DFloat d;
  const VFloat eighths = hn::Round(hn::Mul(steps, hn::Set(d, 8.0f)));
  const auto fit = hn::And(hn::Ge(eighths, hn::Set(d, -128.0f)), hn::Le(eighths, hn::Set(d, 7.0f)));
  return {hn::Mul(eighths, hn::Set(d, 0.125f)), fit};
}

// The line of least squares through the values, for the quants that `line` gives them, and the squared error
// that it leaves (less a constant). Its minimum is in whole eighths of the scale where it may be; `low` is
// what was subtracted from the values.
template <bool kWeighted>
HWY_INLINE VFloat Refit(const float* columns, const float* importance, VFloat low, Line& line) {
  const DFloat d;
  const VFloat rounder = hn::Set(d, kRounder), top = hn::Set(d, kRounder + 15.0f);
  VFloat inverse = InverseOrZero(line.scale);
  VFloat offset = hn::NegMulAdd(line.minimum, inverse, rounder);
  VFloat weights = hn::Zero(d), quants = weights, squares = weights, values = weights, products = weights;
#pragma GCC unroll 4
  for (int64_t col = 0; col < kGroup; ++col) {
    VFloat v = hn::Load(d, columns + col * kTileRows);
    VFloat rounded = hn::Min(hn::MulAdd(v, inverse, offset), top);
    if constexpr (kWeighted) rounded = hn::Max(rounded, rounder);  // else the minimum is the least value
    VFloat quant = hn::Sub(rounded, rounder);
    if constexpr (kWeighted) {
      VFloat weight = hn::Set(d, importance[col]), weighted = hn::Mul(quant, weight);
      weights = hn::Add(weights, weight);
      quants = hn::Add(quants, weighted);
      squares = hn::MulAdd(quant, weighted, squares);
      products = hn::MulAdd(v, weighted, products);
      values = hn::MulAdd(v, weight, values);
    } else {
      quants = hn::Add(quants, quant);
      squares = hn::MulAdd(quant, quant, squares);
      products = hn::MulAdd(v, quant, products);
      values = hn::Add(values, v);
    }
  }
  if constexpr (!kWeighted) weights = hn::Set(d, static_cast<float>(kGroup));
  VFloat determinant = hn::NegMulAdd(quants, quants, hn::Mul(squares, weights));
  // Quants that differ at all make it at least one weight; the rest is rounding.
  auto is_line = hn::Gt(determinant, hn::Mul(hn::Set(d, 1e-3f), hn::Mul(weights, weights)));
  VFloat inverse_determinant = hn::IfThenElseZero(is_line, hn::Div(hn::Set(d, 1.0f), determinant));
  VFloat scale = hn::Mul(hn::NegMulAdd(quants, values, hn::Mul(products, weights)), inverse_determinant);
  VFloat minimum = hn::Mul(hn::NegMulAdd(quants, products, hn::Mul(squares, values)), inverse_determinant);
  // Of very unequal weights little but rounding may be left: a line that falls is none.
  is_line = hn::And(is_line, hn::Gt(scale, hn::Zero(d)));
  line.scale = hn::IfThenElse(is_line, scale, line.scale);
  line.minimum = hn::IfThenElse(is_line, minimum, line.minimum);
  VFloat error = hn::Neg(hn::MulAdd(line.scale, products, hn::Mul(line.minimum, values)));

  // With the minimum at n steps of the scale, the scale that fits best is the whole values' product with
  // quant + n over the square of that.
  const Eighths eighths = EighthsOf(hn::Mul(hn::Add(line.minimum, low), InverseOrZero(line.scale)));
  const VFloat n = eighths.steps, whole_values = hn::MulAdd(low, weights, values);
  const VFloat product = hn::MulAdd(n, whole_values, hn::MulAdd(low, quants, products));
  const VFloat square = hn::MulAdd(n, hn::MulAdd(n, weights, hn::Add(quants, quants)), squares);
  const VFloat step = hn::Mul(product, InverseOrZero(square));
  const auto is_whole = hn::And(hn::And(is_line, eighths.fit), hn::Gt(step, hn::Zero(d)));
  const VFloat constant = hn::Mul(low, hn::Add(values, whole_values));
  error = hn::IfThenElse(is_whole, hn::NegMulAdd(step, product, constant), error);
  line.scale = hn::IfThenElse(is_whole, step, line.scale);
  line.minimum = hn::IfThenElse(is_whole, hn::MulSub(step, n, low), line.minimum);
  return hn::IfThenElse(is_line, error, hn::Set(d, 3e38f));
}

// Of values from 0 to `width`, which lie on `low`.
template <bool kWeighted, size_t kCount>
HWY_INLINE Line BestLine(const float* columns, VFloat low, VFloat width, const float* importance,
                         const float (&steps)[kCount]) {
  const DFloat d;
  Line best{hn::Mul(width, hn::Set(d, 1.0f / 15.0f)), hn::Zero(d)};
  VFloat least = hn::Set(d, 3e38f);
  for (float count : steps) {
    const VFloat scale = hn::Mul(width, hn::Set(d, 1.0f / count));
    const Eighths start = EighthsOf(hn::Mul(low, InverseOrZero(scale)));
    Line line{scale, hn::IfThenElseZero(start.fit, hn::MulSub(start.steps, scale, low))};
    for (int pass = 0; pass < (kWeighted ? 2 : 1); ++pass) {
      VFloat error = Refit<kWeighted>(columns, importance, low, line);
      auto is_less = hn::Lt(error, least);
      least = hn::Min(error, least);
      best.scale = hn::IfThenElse(is_less, line.scale, best.scale);
      best.minimum = hn::IfThenElse(is_less, line.minimum, best.minimum);
    }
  }
  return best;
}

// The scale of least weighted squared error among a few, 8 bits.
HWY_INLINE VFloat BestScale(const float* columns, const float* importance, VFloat largest) {
  const DFloat d;
  const VFloat rounder = hn::Set(d, kRounder), limit = hn::Set(d, 127.0f);
  VFloat best = hn::Mul(largest, hn::Set(d, 1.0f / 127.0f)), most = hn::Zero(d);
  for (float count : kSymmetricSteps) {
    VFloat inverse = hn::Mul(hn::Set(d, count), InverseOrZero(largest));
    VFloat squares = hn::Zero(d), products = squares;
    for (int64_t col = 0; col < kGroup; ++col) {
      VFloat v = hn::Load(d, columns + col * kTileRows);
      VFloat quant = hn::Sub(hn::MulAdd(v, inverse, rounder), rounder);
      quant = hn::Min(hn::Max(quant, hn::Neg(limit)), limit);
      VFloat weighted = hn::Mul(quant, hn::Set(d, importance[col]));
      squares = hn::MulAdd(quant, weighted, squares);
      products = hn::MulAdd(v, weighted, products);
    }
    // The error is that of all zeros less products^2 / squares.
    VFloat scale = hn::Mul(products, InverseOrZero(squares)), gain = hn::Mul(products, scale);
    auto is_more = hn::Gt(gain, most);
    most = hn::Max(gain, most);
    best = hn::IfThenElse(is_more, scale, best);
  }
  return best;
}

// Stored in float16, and what that stands for.
HWY_INLINE VFloat StoreHalf(VFloat v, uint8_t* to) {
  const DFloat d;
  const hn::Rebind<hwy::float16_t, DFloat> d_half;
  auto half = hn::DemoteTo(d_half, v);
  hn::StoreU(half, d_half, reinterpret_cast<hwy::float16_t*>(to));
  return hn::PromoteTo(d, half);
}

// The scale that is stored, in units of the power of two of its row.
HWY_INLINE VFloat StoreScale(VFloat scale, VFloat row_scale, VFloat inverse_row_scale, uint8_t* to) {
  return hn::Mul(StoreHalf(hn::Mul(scale, inverse_row_scale), to), row_scale);
}

// The minimum that is stored, in steps of the scale, whole eighths where they fit a byte.
HWY_INLINE VFloat StoreMinimum(VFloat minimum, VFloat scale, uint8_t* to) {
  const VFloat steps = hn::Mul(minimum, InverseOrZero(scale));
  const Eighths eighths = EighthsOf(steps);
  return hn::Mul(StoreHalf(hn::IfThenElse(eighths.fit, eighths.steps, steps), to), scale);
}

// Quants of one column, clamped, as integers.
HWY_INLINE VInt QuantsOf(const float* column, VFloat inverse, VFloat offset, VFloat low, VFloat high) {
  const DFloat d;
  VFloat v = hn::MulAdd(hn::Load(d, column), inverse, offset);
  return hn::NearestInt(hn::Min(hn::Max(v, low), high));
}

template <int kBits>
void RoundBlock(const float* columns, Line line, uint8_t* block) {
  const DFloat d;
  const DInt di;
  VFloat inverse = InverseOrZero(line.scale);
  VFloat offset = hn::Neg(hn::Mul(line.minimum, inverse));
  VFloat low = hn::Set(d, kBits == 8 ? -127.0f : 0.0f), high = hn::Set(d, kBits == 8 ? 127.0f : 15.0f);
  auto four = [&](int64_t col) HWY_ATTR {
    const VInt byte = hn::Set(di, 255);
    auto at = [&](int64_t idx) HWY_ATTR {
      return QuantsOf(columns + (col + idx) * kTileRows, inverse, offset, low, high);
    };
    VInt first = hn::And(at(0), byte), second = hn::ShiftLeft<8>(hn::And(at(1), byte));
    VInt third = hn::ShiftLeft<16>(hn::And(at(2), byte)), fourth = hn::ShiftLeft<24>(at(3));
    return hn::Or(hn::Or(first, second), hn::Or(third, fourth));
  };
  if constexpr (kBits == 8) {
    for (int64_t quad = 0; quad < 8; ++quad)
      hn::StoreU(four(quad * 4), di, reinterpret_cast<int32_t*>(block + quad * 4 * kTileRows));
  } else {
    for (int64_t pair = 0; pair < 4; ++pair)
      hn::StoreU(hn::Or(four(pair * 8), hn::ShiftLeft<4>(four(pair * 8 + 4))), di,
                 reinterpret_cast<int32_t*>(block + pair * 4 * kTileRows));
  }
}

// `count` values, 32 at most and a multiple of 8, of up to 16 rows, as columns of floats.
template <typename T>
HWY_INLINE void LoadColumns(const T* from, int64_t row_stride, int64_t rows, int64_t count, float* columns) {
  Transpose(from, row_stride, rows, count, columns, kTileRows);
}

// Two neighbouring values move as one word, and come apart as the high halves of two floats.
HWY_INLINE void LoadColumns(const hwy::bfloat16_t* from, int64_t row_stride, int64_t rows, int64_t count,
                            float* columns) {
  if (row_stride % 2 != 0) return Transpose(from, row_stride, rows, count, columns, kTileRows);
  HWY_ALIGN float pairs[kGroup / 2 * kTileRows] = {};
  Transpose(reinterpret_cast<const float*>(from), row_stride / 2, rows, count / 2, pairs, kTileRows);
  const DFloat d;
  const DWord dw;
  for (int64_t pair = 0; pair < count / 2; ++pair)
    for (int64_t lane = 0; lane < kTileRows; lane += kLanes) {
      auto both = hn::BitCast(dw, hn::Load(d, pairs + pair * kTileRows + lane));
      float* to = columns + 2 * pair * kTileRows + lane;
      hn::Store(hn::BitCast(d, hn::ShiftLeft<16>(both)), d, to);
      hn::Store(hn::BitCast(d, hn::And(both, hn::Set(dw, 0xffff0000u))), d, to + kTileRows);
    }
}

template <typename T>
float LargestOf(const T* values, int64_t count) {
  const DFloat d;
  VFloat one = hn::Zero(d), two = one;
  int64_t idx = 0;
  for (; idx + 2 * kLanes <= count; idx += 2 * kLanes) {
    one = hn::Max(one, hn::Abs(LoadFloats(d, values + idx)));
    two = hn::Max(two, hn::Abs(LoadFloats(d, values + idx + kLanes)));
  }
  const hn::CappedTag<float, 8> d8;  // what is left is a multiple of 8
  auto rest = hn::Zero(d8);
  for (; idx < count; idx += static_cast<int64_t>(hn::Lanes(d8)))
    rest = hn::Max(rest, hn::Abs(LoadFloats(d8, values + idx)));
  return HWY_MAX(hn::GetLane(hn::MaxOfLanes(d, hn::Max(one, two))), hn::GetLane(hn::MaxOfLanes(d8, rest)));
}

template <int kBits, typename T>
void SetRowScales(const T* rows, int64_t row_stride, int64_t in, int64_t valid, float* row_scales,
                  float* inverses) {
  // Reading a row from end to end brings it into the second-level cache the way the machine reads fastest.
  for (int64_t row = 0; row < kTileRows; ++row) {
    const float largest = row < valid ? LargestOf(rows + row * row_stride, in) : 0.0f;
    // 4 bits: a group of equal values is their negative, times -1.
    row_scales[row] = row_scale_of(kBits == 8 ? largest / 127.0f : largest);
    inverses[row] = 1.0f / row_scales[row];
  }
}

template <int kBits, typename T>
void QuantiseTile(const T* rows, int64_t row_stride, const QuantisedMatrix& to, int64_t tile,
                  const float* importance) {
  const DFloat d;
  const int64_t valid = HWY_MIN(kTileRows, to.out - tile * kTileRows);
  HWY_ALIGN float inverses[kTileRows];
  float* row_scales = to.row_scales + tile * kTileRows;
  SetRowScales<kBits>(rows, row_stride, to.in, valid, row_scales, inverses);
  HWY_ALIGN float columns[kGroup * kTileRows] = {};
  for (int64_t group = 0; group < to.groups(); ++group) {
    const float* weight = importance ? importance + group * kGroup : nullptr;
    const int64_t count = to.inputs_of(group);
    // Where nothing is important, everything is alike.
    if (weight && std::all_of(weight, weight + count, [](float value) { return value == 0; }))
      weight = nullptr;
    LoadColumns(rows + group * kGroup, row_stride, valid, count, columns);
    HWY_ALIGN float whole_weight[kGroup] = {};
    if (count < kGroup) {
      // Filled up with what is there, which does not widen its range, and is not counted.
      for (int64_t col = count; col < kGroup; ++col)
        std::memcpy(columns + col * kTileRows, columns + col % count * kTileRows, kTileRows * sizeof(float));
      if (weight)
        std::copy_n(weight, count, whole_weight);
      else
        std::fill_n(whole_weight, count, 1.0f);
      if (weight || kBits == 4) weight = whole_weight;
    }
    uint8_t* block = to.quants(tile, group);
    uint8_t* scales = to.scales(tile, group);
    for (int64_t lane = 0; lane < kTileRows; lane += kLanes) {
      float* from = columns + lane;
      VFloat row_scale = hn::LoadU(d, row_scales + lane), inverse = hn::Load(d, inverses + lane);
      Range range = RangeOf(from);
      Line line{hn::Zero(d), hn::Zero(d)};
      if constexpr (kBits == 8) {
        VFloat largest = hn::Max(hn::Neg(range.low), range.high);
        line.scale = weight ? BestScale(from, weight, largest) : hn::Mul(largest, hn::Set(d, 1.0f / 127.0f));
        line.scale = StoreScale(line.scale, row_scale, inverse, scales + 2 * lane);
      } else {
        Subtract(range.low, from);
        VFloat width = hn::Sub(range.high, range.low);
        line = weight ? BestLine<true>(from, range.low, width, weight, kManySteps)
                      : BestLine<false>(from, range.low, width, weight, kSteps);
        VFloat minimum = hn::Add(line.minimum, range.low);
        const VFloat stored = StoreScale(line.scale, row_scale, inverse, scales + 2 * lane);
        const auto is_flat = hn::Gt(hn::Abs(minimum), hn::Mul(stored, hn::Set(d, kMostSteps)));
        line.scale = hn::IfThenElse(is_flat, hn::Neg(minimum), line.scale);
        line.scale = StoreScale(line.scale, row_scale, inverse, scales + 2 * lane);
        minimum = StoreMinimum(minimum, line.scale, scales + 2 * (kTileRows + lane));
        line.minimum = hn::Sub(minimum, range.low);
      }
      RoundBlock<kBits>(from, line, block + lane * 4);
    }
  }
}

template <typename T>
void QuantiseRotatedTile(const T* rows, int64_t row_stride, const QuantisedMatrix& to, int64_t tile) {
  const DFloat d;
  const int64_t valid = HWY_MIN(kTileRows, to.out - tile * kTileRows);
  HWY_ALIGN float inverses[kTileRows];
  float* row_scales = to.row_scales + tile * kTileRows;
  SetRowScales<8>(rows, row_stride, to.in, valid, row_scales, inverses);
  HWY_ALIGN float columns[kLongGroup * kTileRows] = {};
  for (int64_t first = 0; first < to.in; first += kLongGroup) {
    const int64_t width = long_group_width(first, to.in), count = HWY_MIN(width, to.in - first);
    if (count < width) std::memset(columns, 0, sizeof columns);
    for (int64_t at = 0; at < count; at += kGroup)
      LoadColumns(rows + first + at, row_stride, valid, HWY_MIN(kGroup, count - at),
                  columns + at * kTileRows);
    NegateColumns(columns, width);
    TransformColumns(columns, width);
    const float length = rotated_length(width);
    for (int64_t lane = 0; lane < kTileRows; lane += kLanes) {
      VFloat largest = hn::Zero(d);
      for (int64_t at = 0; at < width; ++at)
        largest = hn::Max(largest, hn::Abs(hn::Load(d, columns + at * kTileRows + lane)));
      const VFloat scale =
          StoreScale(hn::Mul(largest, hn::Set(d, 1.0f / (127.0f * length))), hn::LoadU(d, row_scales + lane),
                     hn::Load(d, inverses + lane), to.scales(tile, first / kGroup) + 2 * lane);
      const Line line{hn::Mul(scale, hn::Set(d, length)), hn::Zero(d)};
      for (int64_t at = 0; at < width; at += kGroup)
        RoundBlock<8>(columns + at * kTileRows + lane, line,
                      to.quants(tile, (first + at) / kGroup) + lane * 4);
    }
  }
}

template <typename T>
void QuantiseTileOf(const void* weights, int64_t row_stride, const QuantisedMatrix& to, int64_t tile,
                    const float* importance) {
  const T* rows = static_cast<const T*>(weights) + tile * kTileRows * row_stride;
  if (to.is_rotated)
    QuantiseRotatedTile(rows, row_stride, to, tile);
  else if (to.bits == 8)
    QuantiseTile<8>(rows, row_stride, to, tile, importance);
  else
    QuantiseTile<4>(rows, row_stride, to, tile, importance);
}

void QuantiseAnyTile(const void* weights, Float type, int64_t row_stride, const QuantisedMatrix& to,
                     int64_t tile, const float* importance) {
  switch (type) {
    case Float::f32:
      return QuantiseTileOf<float>(weights, row_stride, to, tile, importance);
    case Float::bf16:
      return QuantiseTileOf<hwy::bfloat16_t>(weights, row_stride, to, tile, importance);
    case Float::f16:
      return QuantiseTileOf<hwy::float16_t>(weights, row_stride, to, tile, importance);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(QuantiseAnyTile);

void quantise(const void* weights, Float type, int64_t row_stride, const QuantisedMatrix& to,
              const float* importance) {
  for_each_balanced(to.tiles(), 8 * to.padded_out() * to.in, [&](int64_t tile) {
    HWY_DYNAMIC_DISPATCH(QuantiseAnyTile)(weights, type, row_stride, to, tile, importance);
  });
}

}  // namespace vlm::kernels
#endif
