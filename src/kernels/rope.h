// Rotary position embedding.
#pragma once

#include <cstdint>

namespace vlm::kernels {

// x [tokens, heads, width] with the strides given, y without gaps, cos and sin [tokens, half]. Feature r of a
// head is paired with r + half, half <= width / 2; the features behind 2 * half are copied.
struct Rope {
  const float* x;
  int64_t token_stride, head_stride;
  const float* cos;
  const float* sin;
  float* y;
  int64_t tokens, heads, width, half;
};
void rope(const Rope& args);

}  // namespace vlm::kernels
