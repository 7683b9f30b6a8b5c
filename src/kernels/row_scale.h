// The power of two of a row of a quantised matrix.
#pragma once

#include <algorithm>
#include <cmath>

namespace vlm::kernels {

// float16 reaches from 2^-14 to 2^16: the power of two that brings numbers of up to `largest` below 2^15.
inline float row_scale_of(float largest) {
  if (!(largest > 0) || !std::isfinite(largest)) return 1.0f;
  return std::ldexp(1.0f, std::clamp(std::ilogb(largest) - 14, -100, 100));
}

}  // namespace vlm::kernels
