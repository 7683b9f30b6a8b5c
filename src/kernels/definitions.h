// What kernels compute, as plain loops in double precision: for their tests and fuzz targets.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/elementwise.h"
#include "kernels/quantised.h"
#include "kernels/rotation.h"

namespace vlm::kernels {

inline double exact(Function function, double x) {
  switch (function) {
    case Function::identity:
      return x;
    case Function::relu:
      return std::max(x, 0.0);
    case Function::relu_squared:
      return std::max(x, 0.0) * std::max(x, 0.0);
    case Function::silu:
      return x / (1 + std::exp(-x));
    case Function::tanh:
      return std::tanh(x);
    case Function::gelu_erf:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Function::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case Function::gelu_quick:
      return x / (1 + std::exp(-1.702 * x));
  }
  return 0;
}

// Activations rounded to 8 bits in groups of 32: value = quant * scale.
struct RoundedRow {
  std::vector<int> quants;
  std::vector<float> scales;  // of groups
  double value(int64_t idx) const {
    return static_cast<double>(quants[static_cast<size_t>(idx)]) * scales[static_cast<size_t>(idx / kGroup)];
  }
};

inline RoundedRow rounded(const float* x, int64_t count) {
  RoundedRow row;
  for (int64_t start = 0; start < count; start += kGroup) {
    const int64_t end = std::min(start + kGroup, count);
    float largest = 0;
    for (int64_t idx = start; idx < end; ++idx) largest = std::max(largest, std::fabs(x[idx]));
    const float scale = largest / 127.0f;
    const float inverse = scale >= std::numeric_limits<float>::min() ? 1.0f / scale : 0.0f;
    row.scales.push_back(scale);
    for (int64_t idx = start; idx < end; ++idx)
      row.quants.push_back(static_cast<int>(std::nearbyint(std::clamp(x[idx] * inverse, -127.0f, 127.0f))));
  }
  return row;
}

// A row rotated group by group (kernels/rotation.h), whole groups of it; or back.
template <typename T>
std::vector<double> rotated(const T* numbers, int64_t count) {
  std::vector<double> row;
  for (int64_t start = 0; start < count; start += kLongGroup) {
    const int64_t width = long_group_width(start, count);
    std::vector<double> group(static_cast<size_t>(width));
    for (int64_t idx = 0; idx < std::min(width, count - start); ++idx)
      group[static_cast<size_t>(idx)] = (is_negated(idx) ? -1.0 : 1.0) * numbers[start + idx];
    for (int64_t bit : kRotatedBits)
      for (int64_t idx = 0; idx < width && bit < width; ++idx) {
        if ((idx & bit) != 0) continue;
        double &low = group[static_cast<size_t>(idx)], &high = group[static_cast<size_t>(idx + bit)];
        std::tie(low, high) = std::pair(low + high, low - high);
      }
    row.insert(row.end(), group.begin(), group.end());
  }
  return row;
}

// Numbers of a rotated row, and how far those of each group of 32 may be off when they are rounded.
struct RotatedRow {
  std::vector<double> values;
  std::vector<double> off;
};

// As they are, in float32.
template <typename T>
RotatedRow rotated_row(const T* numbers, int64_t count) {
  RotatedRow row{rotated(numbers, count), {}};
  for (int64_t start = 0; start < count; start += kLongGroup) {
    double magnitude = 0;
    for (int64_t idx = start; idx < std::min(start + kLongGroup, count); ++idx)
      magnitude += std::fabs(static_cast<double>(numbers[idx]));
    row.off.insert(row.off.end(), static_cast<size_t>(long_group_width(start, count) / kGroup),
                   1e-6 * magnitude);
  }
  return row;
}

// With one scale for `length` inputs: off(their first group of 32, their largest magnitude).
inline void round_rotated(RotatedRow& row, int64_t length, const std::function<double(size_t, double)>& off) {
  const size_t step = static_cast<size_t>(length);
  for (size_t first = 0; first < row.values.size(); first += step) {
    const size_t last = std::min(first + step, row.values.size());
    double largest = 0;
    for (size_t idx = first; idx < last; ++idx) largest = std::max(largest, std::fabs(row.values[idx]));
    for (size_t group = first / kGroup; group < last / kGroup; ++group)
      row.off[group] += off(first / kGroup, largest);
  }
}

// Half a step of 127 on each side of zero; nothing is left of what is too small for a step. `length`: of the
// inputs that share a scale.
inline RotatedRow rotated_activations(const float* x, int64_t count, int64_t length) {
  RotatedRow row = rotated_row(x, count);
  round_rotated(row, length, [](size_t, double largest) {
    return largest < 128.0 * std::numeric_limits<float>::min() ? largest : 0.501 * largest / 127;
  });
  return row;
}

// Weights that are rotated when they are expanded: the same, and what 16 bits round off before. `scales`: of
// the groups of 32 that the row is kept in.
template <typename T>
RotatedRow rotated_weights(const T* weights, const float* scales, int64_t count, int bits) {
  RotatedRow row = rotated_row(weights, count);
  round_rotated(row, kLongGroup, [=](size_t first, double largest) {
    double unit = 0;
    for (int64_t part = static_cast<int64_t>(first), end = part + kGroupsOfLong;
         part < end && part * kGroup < count; ++part)
      unit = std::max(unit, std::fabs(static_cast<double>(scales[part])) / (bits == 8 ? 1 : 8));
    return 0.52 * std::max(largest / 127, unit) + 9 * unit;
  });
  return row;
}

// The product of two rows, and how far that of their rounded numbers may be from it.
struct RotatedProduct {
  double value = 0, magnitude = 0, off = 0;
};
inline RotatedProduct product_of(const RotatedRow& x, const RotatedRow& w, int64_t in) {
  RotatedProduct product;
  for (size_t idx = 0; idx < x.values.size(); ++idx) {
    const size_t group = idx / kGroup;
    const int64_t first = static_cast<int64_t>(idx) / kLongGroup * kLongGroup;
    const double length = rotated_length(long_group_width(first, in));
    const double term = x.values[idx] * w.values[idx] / length;
    product.value += term;
    product.magnitude += std::fabs(term);
    product.off += (std::fabs(x.values[idx]) * w.off[group] + std::fabs(w.values[idx]) * x.off[group] +
                    x.off[group] * w.off[group]) /
                   length;
  }
  return product;
}

}  // namespace vlm::kernels
