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
#include <bits/vector.tcc>
#undef _GLIBCXX20_CONSTEXPR
#define _GLIBCXX20_CONSTEXPR constexpr
#include <vector>
