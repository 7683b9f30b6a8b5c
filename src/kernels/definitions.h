// What kernels compute, as plain loops in double precision: for their tests and fuzz targets.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/elementwise.h"
#include "kernels/quantised.h"

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

}  // namespace vlm::kernels
