// How the scales and minimums of a quantised matrix fit into float16.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/half.h"

namespace vlm::kernels {

// Of minimums, in steps of their scale: beyond it the steps are less than what float16 rounds off, and all
// values of a group count as its minimum.
constexpr float kMostSteps = 32768.0f;

// float16 reaches from 2^-14 to 2^16: the power of two that brings numbers of up to `largest` below 2^15.
inline float row_scale_of(float largest) {
  if (!(largest > 0) || !std::isfinite(largest)) return 1.0f;
  return std::ldexp(1.0f, std::clamp(std::ilogb(largest) - 14, -100, 100));
}

// Of a block's scales or minimums, that of a row.
inline float scale_at(const uint8_t* halves, int64_t row) {
  uint16_t bits;
  std::memcpy(&bits, halves + 2 * row, sizeof bits);
  return half_to_float(bits);
}

}  // namespace vlm::kernels
