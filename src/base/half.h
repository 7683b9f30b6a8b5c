// Bits of the 16-bit floating-point formats, without a tensor library.
#pragma once

#include <bit>
#include <cstdint>

namespace vlm {

inline float bf16_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Rounds to nearest, ties to even; NaN stays NaN.
inline uint16_t float_to_bf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);  // rounds to nearest, ties to even; overflow gives infinity

}  // namespace vlm
