// Included before everything when clang compiles for fuzzing.
//
// GCC 12's std::vector is constexpr in C++20, and clang then instantiates its members where LibTorch 1.13 has
// a vector of a type that is not complete yet. Here the vector headers are read once with that keyword
// switched off.
#pragma once

// The order is the point.
// clang-format off

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <tuple>

#undef _GLIBCXX20_CONSTEXPR
#define _GLIBCXX20_CONSTEXPR
#include <bits/stl_vector.h>
#define __fill_a1 __fill_a1_bits  // declared constexpr elsewhere
#include <bits/stl_bvector.h>
#undef __fill_a1
// What the linker looks for where a call was not inlined, under the name of what was declared.
__attribute__((used, weak)) void fill_bits(std::_Bit_iterator first, std::_Bit_iterator last, const bool& value)
    __asm__("_ZSt9__fill_a1St13_Bit_iteratorS_RKb");
void fill_bits(std::_Bit_iterator first, std::_Bit_iterator last, const bool& value) {
  std::__fill_a1_bits(first, last, value);
}
#include <bits/vector.tcc>
#undef _GLIBCXX20_CONSTEXPR
#define _GLIBCXX20_CONSTEXPR constexpr
#include <vector>
