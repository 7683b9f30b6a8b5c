// What kernels compute, as plain loops in double precision: for their tests and fuzz targets.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
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

// Numbers of a row rotated group by group (kernels/rotation.h), and how far they may be off when they are
// rounded.
struct RotatedRow {
  std::vector<double> values;  // whole groups
  std::vector<double> off;     // of each number of a group
};

template <typename T>
RotatedRow rotated(const T* numbers, int64_t count) {
  RotatedRow row;
  for (int64_t start = 0; start < count; start += kLongGroup) {
    std::vector<double> group(kLongGroup);
    double magnitude = 0;
    for (int64_t idx = 0; idx < std::min(kLongGroup, count - start); ++idx) {
      group[static_cast<size_t>(idx)] = (is_negated(idx) ? -1.0 : 1.0) * numbers[start + idx];
      magnitude += std::fabs(numbers[start + idx]);
    }
    for (int64_t bit : kRotatedBits)
      for (int64_t idx = 0; idx < kLongGroup; ++idx) {
        if ((idx & bit) != 0) continue;
        double &low = group[static_cast<size_t>(idx)], &high = group[static_cast<size_t>(idx + bit)];
        std::tie(low, high) = std::pair(low + high, low - high);
      }
    row.values.insert(row.values.end(), group.begin(), group.end());
    row.off.push_back(1e-6 * magnitude);  // of sums in float32
  }
  return row;
}

inline double largest_of_group(const RotatedRow& row, size_t group) {
  const auto begin = row.values.begin() + static_cast<int64_t>(group) * kLongGroup;
  double largest = 0;
  std::for_each(begin, begin + kLongGroup, [&](double v) { largest = std::max(largest, std::fabs(v)); });
  return largest;
}

// Half a step of 127 on each side of zero; nothing is left of what is too small for a step.
inline RotatedRow rotated_activations(const float* x, int64_t count) {
  RotatedRow row = rotated(x, count);
  for (size_t group = 0; group < row.off.size(); ++group) {
    const double largest = largest_of_group(row, group);
    row.off[group] += largest < 128.0 * std::numeric_limits<float>::min() ? largest : 0.501 * largest / 127;
  }
  return row;
}

// The same, and what 16 bits round off before; `scales`: of the groups of 32 that the row is kept in.
template <typename T>
RotatedRow rotated_weights(const T* weights, const float* scales, int64_t count, int bits) {
  RotatedRow row = rotated(weights, count);
  for (size_t group = 0; group < row.off.size(); ++group) {
    double unit = 0;
    const int64_t parts = kLongGroup / kGroup, first = static_cast<int64_t>(group) * parts;
    for (int64_t part = first; part < first + parts && part * kGroup < count; ++part)
      unit = std::max(unit, std::fabs(static_cast<double>(scales[part])) / (bits == 8 ? 2 : 16));
    row.off[group] += 0.52 * std::max(largest_of_group(row, group) / 127, unit) + 5 * unit;
  }
  return row;
}

// The product of two rows, and how far that of their rounded numbers may be from it.
struct RotatedProduct {
  double value = 0, magnitude = 0, off = 0;
};
inline RotatedProduct product_of(const RotatedRow& x, const RotatedRow& w) {
  RotatedProduct product;
  for (size_t idx = 0; idx < x.values.size(); ++idx) {
    const size_t group = idx / kLongGroup;
    const double term = x.values[idx] * w.values[idx] / kRotatedLength;
    product.value += term;
    product.magnitude += std::fabs(term);
    product.off += (std::fabs(x.values[idx]) * w.off[group] + std::fabs(w.values[idx]) * x.off[group] +
                    x.off[group] * w.off[group]) /
                   kRotatedLength;
  }
  return product;
}

}  // namespace vlm::kernels
