// Which matrices become int8 or int4, wherever that is decided: at load, in `vlm quantize`, in tables of
// sizes.
#pragma once

#include <cstdint>

namespace vlm {

inline constexpr int64_t kGroupSize = 32;  // inputs that share a scale
// Below this many elements nothing is saved, and accuracy is lost (class heads, tiny connectors).
inline constexpr int64_t kSmallestQuantised = 1 << 10;

inline bool can_quantise(int64_t out, int64_t in) {
  return in % kGroupSize == 0 && out * in >= kSmallestQuantised;
}

}  // namespace vlm
