#include "kernels/massive.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <tuple>

#include "kernels/row_scale.h"
#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/massive.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

void Magnitudes(const float* x, int64_t count, float& sum_of, float& largest_of) {
  const hn::CappedTag<float, 16> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum = hn::Zero(d), largest = sum;
  int64_t idx = 0;
  for (; idx + lanes <= count; idx += lanes) {
    const auto magnitude = hn::Abs(hn::LoadU(d, x + idx));
    sum = hn::Add(sum, magnitude);
    largest = hn::Max(largest, magnitude);
  }
  sum_of = hn::GetLane(hn::SumOfLanes(d, sum));
  largest_of = hn::GetLane(hn::MaxOfLanes(d, largest));
  for (; idx < count; ++idx) {
    sum_of += std::fabs(x[idx]);
    largest_of = HWY_MAX(largest_of, std::fabs(x[idx]));
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(Magnitudes);

namespace {

constexpr float kMassive = 64.0f;
constexpr int64_t kMostOfRow = 8;
constexpr size_t kMostInputs = 32;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What `input` is multiplied by in the rows of a tile.
void column_of(const QuantisedMatrix& weight, int64_t tile, int64_t input, float* column) {
  int32_t quants[kTileRows] = {};
  auto add = [&](int64_t at, int32_t sign) {
    const int64_t in_group = at % kGroup, quad = weight.bits == 8 ? in_group / 4 : in_group / 8;
    const uint8_t* from = weight.quants(tile, at / kGroup) + quad * 4 * kTileRows + in_group % 4;
    for (int64_t row = 0; row < kTileRows; ++row)
      quants[row] += sign * (weight.bits == 8 ? static_cast<int8_t>(from[4 * row])
                                              : from[4 * row] >> (in_group % 8 / 4 * 4) & 15);
  };
  if (weight.is_rotated) {
    int64_t bits = 0;
    for (const int64_t bit : kRotatedBits) bits |= bit;
    const int64_t first = input / kLongGroup * kLongGroup, place = input - first;
    for (int64_t at = 0; at < long_group_width(first, weight.in); ++at) {
      if (((at ^ place) & ~bits) != 0) continue;
      const bool is_odd = std::popcount(static_cast<uint64_t>(at & place & bits)) % 2 == 1;
      add(first + at, is_odd != is_negated(place) ? -1 : 1);
    }
  } else {
    add(input, 1);
  }
  const uint8_t* scales = weight.scales(tile, input / kGroup);
  for (int64_t row = 0; row < kTileRows; ++row) {
    const float minimum = weight.has_minimums ? scale_at(weight.minimums(tile, input / kGroup), row) : 0.0f;
    column[row] = (static_cast<float>(quants[row]) + minimum) * scale_at(scales, row) *
                  weight.row_scales[tile * kTileRows + row];
  }
}

}  // namespace

float massive_above(const float* row, int64_t in) {
  float sum, largest;
  HWY_DYNAMIC_DISPATCH(Magnitudes)(row, in, sum, largest);
  const float limit = kMassive * sum / static_cast<float>(in);
  if (!(largest > limit)) return kInfinity;  // also of what is not finite
  const int64_t count = std::count_if(row, row + in, [=](float x) { return std::fabs(x) > limit; });
  return count <= kMostOfRow ? limit : kInfinity;
}

void collect_massive(const Product& product, int64_t in, const float* above, std::vector<Massive>& found) {
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
}

void find_massive(const Product& product, int64_t in, float* above, std::vector<Massive>& found) {
  for_each_balanced(product.rows, 2 * product.rows * in,
                    [=](int64_t row) { above[row] = massive_above(product.x + row * product.x_stride, in); });
  collect_massive(product, in, above, found);
}

bool keep_few_massive(int64_t rows, float* above, std::vector<Massive>& found) {
  size_t inputs = 0;
  for (size_t idx = 0; idx < found.size(); ++idx)
    inputs += idx == 0 || found[idx].input != found[idx - 1].input ? 1 : 0;
  if (inputs <= kMostInputs) return true;
  found.clear();
  std::fill_n(above, rows, kInfinity);
  return false;
}

void add_massive(const std::vector<Massive>& found, const Product& product, const QuantisedMatrix& weight) {
  if (found.empty()) return;
  const int64_t count = static_cast<int64_t>(found.size()), of_column = weight.is_rotated ? kLongGroup : 1;
  for_each_balanced(weight.tiles(), 2 * weight.out * count * of_column, [&](int64_t tile) {
    float column[kTileRows];
    const int64_t valid = std::min(kTileRows, weight.out - tile * kTileRows);
    for (size_t idx = 0; idx < found.size(); ++idx) {
      const auto& [input, row, value] = found[idx];
      if (idx == 0 || input != found[idx - 1].input) column_of(weight, tile, input, column);
      float* y = product.y + row * product.y_stride + tile * kTileRows;
      for (int64_t col = 0; col < valid; ++col) y[col] += value * column[col];
    }
  });
}

}  // namespace vlm::kernels
#endif
