// Matrices in groups along the input: which become int8 or int4, wherever that is decided (at load, in `vlm
// quantize`, in tables of sizes), and how a file keeps them.
#pragma once

#include "tensor/tensor.h"

namespace vlm {

inline constexpr int64_t kGroupSize = 32;  // inputs that share a scale
// Below this many elements nothing is saved, and accuracy is lost (class heads, tiny connectors).
inline constexpr int64_t kSmallestQuantised = 1 << 10;

// The last group of a row may be shorter than the others; it takes as much memory as a whole one.
inline int64_t groups_of_row(int64_t in) {
  return (in + kGroupSize - 1) / kGroupSize;
}

inline bool can_quantise(int64_t out, int64_t in) {
  const int64_t padding = groups_of_row(in) * kGroupSize - in;
  return in % 8 == 0 && padding <= in / 8 && out * in >= kSmallestQuantised;
}

// How many inputs share a scale where a row of `in` has `groups` of them: groups_of_row(in), or any number of
// equal ones. 0: they do not fit.
int64_t group_length(int64_t in, int64_t groups);

// quant * scale + minimum, float32 [out, in]. quants: int8 [out, in], or uint8 [out, in / 2] (two 4-bit
// values, the first in the low half). scales, minimums (undefined: none): [out, groups], see group_length().
Tensor dequantise_groups(const Tensor& quants, const Tensor& scales, const Tensor& minimums);

}  // namespace vlm
