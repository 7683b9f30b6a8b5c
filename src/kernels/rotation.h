// The rotation of groups of inputs before they are rounded (kernels/many_rows_rotated.cc).
#pragma once

#include <cstdint>

namespace vlm::kernels {

constexpr int64_t kLongGroup = 128;  // inputs of a group
// A Hadamard transform over these bits of an input's place in its group: of two interleaved sets of 64, ...
constexpr int64_t kRotatedBits[] = {1, 4, 8, 16, 32, 64};
constexpr float kRotatedLength = 64.0f;  // the square of what it multiplies lengths by
// ... after a change of signs by a bent function of those bits, so that what is the same in all inputs
// (activations have means) is spread as evenly as what is in one.
constexpr bool is_negated(int64_t input) {
  const auto bit = [=](int at) { return (input >> at & 1) == 1; };
  return ((bit(0) && bit(2)) != (bit(3) && bit(4))) != (bit(5) && bit(6));
}

}  // namespace vlm::kernels
