// The rotation of groups of inputs before they are rounded: products stay what they are when both sides are
// rotated, and what a few channels hold is spread over all that are rounded together.
#pragma once

#include <algorithm>
#include <cstdint>

namespace vlm::kernels {

constexpr int64_t kLongGroup = 256;                 // inputs of a group; the last of a row may be ...
constexpr int64_t kHalfLongGroup = kLongGroup / 2;  // ... of half as many
// A Hadamard transform over these bits of an input's place in its group (but for the last, in half a group):
// of two interleaved sets of 128, ...
constexpr int64_t kRotatedBits[] = {1, 4, 8, 16, 32, 64, 128};
// ... after a change of signs by a bent function of the first six, so that what is the same in all inputs
// (activations have means) is spread nearly as evenly as what is in one.
constexpr bool is_negated(int64_t input) {
  const auto bit = [=](int at) { return (input >> at & 1) == 1; };
  return ((bit(0) && bit(2)) != (bit(3) && bit(4))) != (bit(5) && bit(6));
}

// Of the group that begins at input `first`: so many inputs, with what fills it up, ...
constexpr int64_t long_group_width(int64_t first, int64_t in) {
  return in - first > kHalfLongGroup ? kLongGroup : kHalfLongGroup;
}
// ... and the square of what its rotation multiplies lengths by.
constexpr float rotated_length(int64_t width) {
  const int64_t square = width / 2;
  return static_cast<float>(square);
}

constexpr int64_t long_groups_of(int64_t in) {
  return (in + kLongGroup - 1) / kLongGroup;
}
// A row's inputs with what fills its last group up.
constexpr int64_t rotated_width(int64_t in) {
  return (in + kHalfLongGroup - 1) / kHalfLongGroup * kHalfLongGroup;
}

}  // namespace vlm::kernels
