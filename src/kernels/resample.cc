#include "kernels/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/resample.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/transpose-inl.h"

#ifndef VLM_KERNELS_RESAMPLE_ONCE
#define VLM_KERNELS_RESAMPLE_ONCE
namespace vlm::kernels {

constexpr int kLowBits = 15;
constexpr int64_t kPackedPixels = 8;  // weights of one 16-byte load

inline int32_t low_part(int32_t weight) {
  constexpr int32_t kHalf = 1 << (kLowBits - 1);
  return ((weight + kHalf) & ((1 << kLowBits) - 1)) - kHalf;
}

inline uint8_t round_to_byte(int32_t sum, int precision) {
  return static_cast<uint8_t>(std::clamp((sum + (1 << (precision - 1))) >> precision, 0, 255));
}

inline void resample_rows_plainly(const uint8_t* const* rows, const int32_t* weight, int64_t count,
                                  int precision, uint8_t* target, int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; ++at) {
    int32_t sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += rows[k][at] * weight[k];
    target[at] = round_to_byte(sum, precision);
  }
}

}  // namespace vlm::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_SCALAR

void ResamplePixels(const uint8_t* const* rows, int64_t num_rows, const ByteTaps& taps,
                    uint8_t* const* targets) {
  for (int64_t row = 0; row < num_rows; ++row)
    for (int64_t i = 0; i < taps.outputs(); ++i) {
      const uint8_t* pixel = rows[row] + taps.first[i] * 3;
      const int32_t* weight = taps.weights.data() + i * taps.width;
      int32_t sums[3] = {};
      for (int64_t k = 0; k < taps.count[i]; ++k, pixel += 3)
        for (int c = 0; c < 3; ++c) sums[c] += pixel[c] * weight[k];
      for (int c = 0; c < 3; ++c) targets[row][i * 3 + c] = round_to_byte(sums[c], taps.precision);
    }
}

void ResampleRows(const uint8_t* const* rows, const ByteTaps& taps, int64_t idx, uint8_t* target,
                  int64_t length) {
  resample_rows_plainly(rows, taps.weights.data() + idx * taps.width, taps.count[idx], taps.precision, target,
                        0, length);
}

void ResampleFloats(const float* source, int64_t rows, int64_t width, const FloatTaps& taps, float* target) {
  for (int64_t row = 0; row < rows; ++row, source += width)
    for (int64_t i = 0; i < taps.outputs; ++i) {
      float sum = 0;
      for (int64_t k = 0; k < taps.count[i]; ++k)
        sum = std::fma(source[taps.first[i] + k], taps.weights[i * taps.width + k], sum);
      *target++ = sum;
    }
}

void ResampleFloatRows(const float* source, int64_t width, const FloatTaps& taps, int64_t idx,
                       float* target) {
  for (int64_t x = 0; x < width; ++x) {
    float sum = 0;
    for (int64_t k = 0; k < taps.count[idx]; ++k)
      sum = std::fma(source[(taps.first[idx] + k) * width + x], taps.weights[idx * taps.width + k], sum);
    target[x] = sum;
  }
}

#else

using D16 = hn::CappedTag<int16_t, 32>;
using D32 = hn::Repartition<int32_t, D16>;
using V16 = hn::Vec<D16>;
using V32 = hn::Vec<D32>;

constexpr int64_t kRowsAtOnce = 4;  // share a load of weights

// Sums of products of neighbouring 16-bit numbers; where they end up depends on the instruction set until
// Total() puts the sum of numbers 2i and 2i + 1 into lane i.
struct Sums {
  HWY_INLINE void Clear() { one = two = hn::Zero(D32()); }
  HWY_INLINE void Add(V16 a, V16 b) { one = hn::ReorderWidenMulAccumulate(D32(), a, b, one, two); }
  HWY_INLINE V32 Total() const { return hn::RearrangeToOddPlusEven(one, two); }
  V32 one, two;
};

// Pixels [begin, end) as 16-bit numbers: the reds of two neighbours, their greens, their blues, and twice 0.
void Widen(const uint8_t* row, int64_t begin, int64_t end, int16_t* to) {
  const hn::CappedTag<int16_t, 16> d;
  const hn::Repartition<uint8_t, decltype(d)> d8;
  constexpr uint8_t kNone = 0x80;
  alignas(32) static constexpr uint8_t kPlaces[32] = {
      0, kNone, 3, kNone, 1, kNone, 4,  kNone, 2, kNone, 5,  kNone, kNone, kNone, kNone, kNone,
      6, kNone, 9, kNone, 7, kNone, 10, kNone, 8, kNone, 11, kNone, kNone, kNone, kNone, kNone};
  const auto places = hn::Load(d8, kPlaces);
  const int64_t step = static_cast<int64_t>(hn::Lanes(d)) / 4;
  int64_t x = begin;
  for (; x + 6 <= end; x += step, to += step * 4)  // 16 bytes are read
    hn::StoreU(hn::BitCast(d, hn::TableLookupBytesOr0(hn::LoadDup128(d8, row + x * 3), places)), d, to);
  for (; x < end; x += 2, to += 8) {
    const uint8_t *left = row + x * 3, *right = left + 3;
    for (int c = 0; c < 3; ++c) {
      to[c * 2] = left[c];
      to[c * 2 + 1] = x + 1 < end ? right[c] : 0;
    }
    to[6] = to[7] = 0;
  }
  std::fill_n(to, kPackedPixels * 4, 0);
}

template <class V>
HWY_INLINE hn::Vec<hn::FixedTag<int32_t, 4> > AddBlocks(V sum) {
  const hn::DFromV<V> d;
  if constexpr (hn::MaxLanes(hn::DFromV<V>()) == 4) {
    return sum;
  } else {
    const hn::Half<decltype(d)> dh;
    return AddBlocks(hn::Add(hn::LowerHalf(dh, sum), hn::UpperHalf(dh, sum)));
  }
}

template <bool kHasHigh>
void ResampleFourRows(const int16_t* const (&wide)[kRowsAtOnce], int64_t begin, const ByteTaps& taps,
                      uint8_t* const (&targets)[kRowsAtOnce]) {
  const D16 d;
  const hn::Repartition<uint8_t, D16> d8;
  const hn::FixedTag<int32_t, 4> d32x4;
  constexpr int kBlocks = static_cast<int>(hn::MaxLanes(D16())) / 8;  // of two pixels
  constexpr int kSteps = static_cast<int>(kPackedPixels) / (2 * kBlocks);
  // The weights of two pixels in the four 32-bit lanes of a block.
  HWY_ALIGN uint8_t places[kSteps][kBlocks * 16];
  for (int step = 0; step < kSteps; ++step)
    for (int byte = 0; byte < kBlocks * 16; ++byte)
      places[step][byte] = static_cast<uint8_t>((step * kBlocks + byte / 16) * 4 + byte % 4);
  const auto half = hn::Set(d32x4, 1 << (taps.precision - 1));
  const int64_t outputs = taps.outputs();
  for (int64_t i = 0; i < outputs; ++i) {
    const int64_t first = taps.first[i] & ~int64_t{1}, end = taps.first[i] + taps.count[i];
    const int16_t* low = taps.low.data() + i * taps.packed_width;
    const int16_t* high = kHasHigh ? taps.high.data() + i * taps.packed_width : nullptr;
    int64_t at = (first - begin) * 4;
    Sums lows[kRowsAtOnce], highs[kRowsAtOnce];
#pragma GCC unroll 4
    for (int64_t row = 0; row < kRowsAtOnce; ++row) {
      lows[row].Clear();
      highs[row].Clear();
    }
    for (int64_t x = first; x < end; x += kPackedPixels, low += kPackedPixels) {
      const auto low_weights = hn::BitCast(d8, hn::LoadDup128(d, low));
      auto high_weights = low_weights;
      if constexpr (kHasHigh) {
        high_weights = hn::BitCast(d8, hn::LoadDup128(d, high));
        high += kPackedPixels;
      }
#pragma GCC unroll 4
      for (int step = 0; step < kSteps; ++step, at += 8 * kBlocks) {
        const auto place = hn::Load(d8, places[step]);
        const V16 low_pairs = hn::BitCast(d, hn::TableLookupBytes(low_weights, place));
        const V16 high_pairs = hn::BitCast(d, hn::TableLookupBytes(high_weights, place));
#pragma GCC unroll 4
        for (int64_t row = 0; row < kRowsAtOnce; ++row) {
          const V16 pixels = hn::LoadU(d, wide[row] + at);
          lows[row].Add(pixels, low_pairs);
          if constexpr (kHasHigh) highs[row].Add(pixels, high_pairs);
        }
      }
    }
#pragma GCC unroll 4
    for (int64_t row = 0; row < kRowsAtOnce; ++row) {
      V32 sum = lows[row].Total();
      if constexpr (kHasHigh) sum = hn::Add(sum, hn::ShiftLeft<kLowBits>(highs[row].Total()));
      const auto rounded = hn::ShiftRightSame(hn::Add(AddBlocks(sum), half), taps.precision);
      const uint32_t bytes = hn::GetLane(
          hn::BitCast(hn::FixedTag<uint32_t, 1>(), hn::DemoteTo(hn::FixedTag<uint8_t, 4>(), rounded)));
      if (i + 1 < outputs)
        std::memcpy(targets[row] + i * 3, &bytes, 4);  // the fourth is overwritten next
      else
        std::memcpy(targets[row] + i * 3, &bytes, 3);
    }
  }
}

void ResamplePixels(const uint8_t* const* rows, int64_t num_rows, const ByteTaps& taps,
                    uint8_t* const* targets) {
  static thread_local Scratch scratch;
  const int64_t begin = taps.begin() & ~int64_t{1}, end = taps.end();
  const int64_t stride = (end - begin + 1 + 2 * kPackedPixels) * 4;
  int16_t* memory = scratch.get<int16_t>(kRowsAtOnce * stride);
  for (int64_t row = 0; row < num_rows; row += kRowsAtOnce) {
    const int16_t* wide[kRowsAtOnce];
    uint8_t* outputs[kRowsAtOnce];
    for (int64_t r = 0; r < kRowsAtOnce; ++r) {  // the last row stands in where there are no more
      const int64_t real = std::min(r, num_rows - row - 1);
      wide[r] = memory + real * stride;
      outputs[r] = targets[row + real];
      if (r == real) Widen(rows[row + r], begin, end, memory + r * stride);
    }
    if (taps.high.empty())
      ResampleFourRows<false>(wide, begin, taps, outputs);
    else
      ResampleFourRows<true>(wide, begin, taps, outputs);
  }
}

// A vector of bytes at `at`; pairs hold the weights of two rows each.
template <bool kHasHigh>
HWY_INLINE void ResampleRowPiece(const uint8_t* const* rows, int64_t count, const int32_t* pairs,
                                 int precision, uint8_t* target, int64_t at) {
  const D16 d;
  const D32 d32;
  const hn::Rebind<uint8_t, D16> d8;
  Sums lower, upper, lower_high, upper_high;
  lower.Clear();
  upper.Clear();
  lower_high.Clear();
  upper_high.Clear();
  for (int64_t k = 0; k < count; k += 2, pairs += 2) {
    const V16 one = hn::BitCast(d, hn::PromoteTo(d, hn::LoadU(d8, rows[k] + at)));
    const V16 two = hn::BitCast(d, hn::PromoteTo(d, hn::LoadU(d8, rows[std::min(k + 1, count - 1)] + at)));
    const V16 left = hn::InterleaveLower(d, one, two), right = hn::InterleaveUpper(d, one, two);
    const V16 low = hn::BitCast(d, hn::Set(d32, pairs[0]));
    lower.Add(left, low);
    upper.Add(right, low);
    if constexpr (kHasHigh) {
      const V16 high = hn::BitCast(d, hn::Set(d32, pairs[1]));
      lower_high.Add(left, high);
      upper_high.Add(right, high);
    }
  }
  const V32 half = hn::Set(d32, 1 << (precision - 1));
  auto rounded = [&](const Sums& low, const Sums& high) HWY_ATTR {
    V32 sum = hn::Add(low.Total(), half);
    if constexpr (kHasHigh) sum = hn::Add(sum, hn::ShiftLeft<kLowBits>(high.Total()));
    return hn::ShiftRightSame(sum, precision);
  };
  const V16 words = hn::ReorderDemote2To(d, rounded(lower, lower_high), rounded(upper, upper_high));
  hn::StoreU(hn::DemoteTo(d8, words), d8, target + at);
}

void ResampleRows(const uint8_t* const* rows, const ByteTaps& taps, int64_t idx, uint8_t* target,
                  int64_t length) {
  static thread_local Scratch scratch;
  const int32_t* weight = taps.weights.data() + idx * taps.width;
  const int64_t count = taps.count[idx], lanes = static_cast<int64_t>(hn::Lanes(D16()));
  if (length < lanes) return resample_rows_plainly(rows, weight, count, taps.precision, target, 0, length);
  int32_t* pairs = scratch.get<int32_t>(count + 2);
  const bool has_high = !taps.high.empty();
  auto pair = [](int32_t left, int32_t right) {
    return static_cast<int32_t>((static_cast<uint32_t>(left) & 0xFFFF) | static_cast<uint32_t>(right) << 16);
  };
  for (int64_t k = 0; k < count; k += 2) {
    const int32_t left = weight[k], right = k + 1 < count ? weight[k + 1] : 0;
    const int32_t low_left = has_high ? low_part(left) : left, low_right = has_high ? low_part(right) : right;
    pairs[k] = pair(low_left, low_right);
    pairs[k + 1] = pair((left - low_left) >> kLowBits, (right - low_right) >> kLowBits);
  }
  for (int64_t at = 0; at < length; at += lanes) {
    const int64_t place = std::min(at, length - lanes);  // the last piece overlaps the one before
    if (has_high)
      ResampleRowPiece<true>(rows, count, pairs, taps.precision, target, place);
    else
      ResampleRowPiece<false>(rows, count, pairs, taps.precision, target, place);
  }
}

// Sixteen rows at a time, laid side by side, so that the sums of one need not wait for each other.
void ResampleFloats(const float* source, int64_t rows, int64_t width, const FloatTaps& taps, float* target) {
  static thread_local Scratch wide_scratch, narrow_scratch;
  constexpr int64_t kGroup = 16;
  const hn::CappedTag<float, kGroup> d;
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(hn::CappedTag<float, kGroup>()));
  float* wide = wide_scratch.get<float>(width * kGroup);
  float* narrow = narrow_scratch.get<float>(taps.outputs * kGroup);
  for (int64_t row = 0; row < rows; row += kGroup) {
    const int64_t real = std::min(kGroup, rows - row);
    if (real < kGroup) std::fill_n(wide, width * kGroup, 0.0f);
    Transpose(source + row * width, width, real, width, wide, kGroup);
    for (int64_t i = 0; i < taps.outputs; ++i) {
      hn::Vec<decltype(d)> sums[kGroup / kLanes];
      for (auto& sum : sums) sum = hn::Zero(d);
      const float* at = wide + taps.first[i] * kGroup;
      const float* weight = taps.weights + i * taps.width;
      for (int64_t k = 0; k < taps.count[i]; ++k, at += kGroup)
        for (int64_t v = 0; v < kGroup / kLanes; ++v)
          sums[v] = hn::MulAdd(hn::Load(d, at + v * kLanes), hn::Set(d, weight[k]), sums[v]);
      for (int64_t v = 0; v < kGroup / kLanes; ++v) hn::Store(sums[v], d, narrow + i * kGroup + v * kLanes);
    }
    Transpose(narrow, kGroup, taps.outputs, real, target + row * taps.outputs, taps.outputs);
  }
}

void ResampleFloatRows(const float* source, int64_t width, const FloatTaps& taps, int64_t idx,
                       float* target) {
  const hn::CappedTag<float, 16> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), count = taps.count[idx];
  const float* weight = taps.weights + idx * taps.width;
  source += taps.first[idx] * width;
  int64_t x = 0;
  for (; x + 2 * lanes <= width; x += 2 * lanes) {
    auto left = hn::Zero(d), right = left;
    for (int64_t k = 0; k < count; ++k) {
      const float* at = source + k * width + x;
      left = hn::MulAdd(hn::LoadU(d, at), hn::Set(d, weight[k]), left);
      right = hn::MulAdd(hn::LoadU(d, at + lanes), hn::Set(d, weight[k]), right);
    }
    hn::StoreU(left, d, target + x);
    hn::StoreU(right, d, target + x + lanes);
  }
  const hn::CappedTag<float, 1> one;
  for (; x < width; ++x) {
    auto sum = hn::Zero(one);
    for (int64_t k = 0; k < count; ++k)
      sum = hn::MulAdd(hn::LoadU(one, source + k * width + x), hn::Set(one, weight[k]), sum);
    hn::StoreU(sum, one, target + x);
  }
}

#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(ResamplePixels);
HWY_EXPORT(ResampleRows);
HWY_EXPORT(ResampleFloats);
HWY_EXPORT(ResampleFloatRows);

ByteTaps::ByteTaps(std::vector<int64_t> first_inputs, std::vector<int64_t> counts,
                   std::vector<int32_t> all_weights, int64_t most, int bits)
    : first(std::move(first_inputs)),
      count(std::move(counts)),
      weights(std::move(all_weights)),
      width(most),
      precision(bits) {
  packed_width = (width + 1 + kPackedPixels - 1) / kPackedPixels * kPackedPixels;
  low.resize(static_cast<size_t>(outputs() * packed_width));
  const bool has_high = std::any_of(weights.begin(), weights.end(),
                                    [](int32_t weight) { return weight < INT16_MIN || weight > INT16_MAX; });
  if (has_high) high.resize(low.size());
  for (int64_t i = 0; i < outputs(); ++i)
    for (int64_t k = 0; k < count[i]; ++k) {
      const int32_t weight = weights[i * width + k], lower = has_high ? low_part(weight) : weight;
      const int64_t at = i * packed_width + (first[i] & 1) + k;
      low[at] = static_cast<int16_t>(lower);
      if (has_high) high[at] = static_cast<int16_t>((weight - lower) >> kLowBits);
    }
}

int64_t ByteTaps::begin() const {
  return first.empty() ? 0 : *std::min_element(first.begin(), first.end());
}

int64_t ByteTaps::end() const {
  int64_t last = 0;
  for (size_t i = 0; i < first.size(); ++i) last = std::max(last, first[i] + count[i]);
  return last;
}

ByteTaps ByteTaps::slice(int64_t from, int64_t to) const {
  return ByteTaps({first.begin() + from, first.begin() + to}, {count.begin() + from, count.begin() + to},
                  {weights.begin() + from * width, weights.begin() + to * width}, width, precision);
}

void resample_pixels(const uint8_t* const* rows, int64_t num_rows, const ByteTaps& taps,
                     uint8_t* const* targets) {
  HWY_DYNAMIC_DISPATCH(ResamplePixels)(rows, num_rows, taps, targets);
}

void resample_rows(const uint8_t* const* rows, const ByteTaps& taps, int64_t idx, uint8_t* target,
                   int64_t length) {
  HWY_DYNAMIC_DISPATCH(ResampleRows)(rows, taps, idx, target, length);
}

void resample_floats(const float* source, int64_t rows, int64_t width, const FloatTaps& taps, float* target) {
  HWY_DYNAMIC_DISPATCH(ResampleFloats)(source, rows, width, taps, target);
}

void resample_float_rows(const float* source, int64_t width, const FloatTaps& taps, int64_t idx,
                         float* target) {
  HWY_DYNAMIC_DISPATCH(ResampleFloatRows)(source, width, taps, idx, target);
}

}  // namespace vlm::kernels
#endif
