// For the fuzz targets of kernels: a fuzzer's bytes become a case (sizes, strides, flags, numbers, an
// instruction set), and what a kernel gives must be within a bound of what plain loops give.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "kernels/cpu.h"
#include "kernels/floats.h"

namespace vlm::kernels {

constexpr double kUnit = 0x1p-24;    // half a place of float32: what one rounding costs, relatively
constexpr double kLeast = 0x1p-149;  // the least float32: what one rounding costs near zero

// Every choice by its name; behind the last byte everything is zero.
class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : at_(data), end_(data + size) { current() = this; }
  ~Choices() { current() = nullptr; }
  Choices(const Choices&) = delete;
  Choices& operator=(const Choices&) = delete;

  int64_t below(const char* name, int64_t count) { return note(name, take(count > 256 ? 2 : 1) % count); }
  bool flag(const char* name) { return below(name, 2) != 0; }
  template <typename T>
  T of(const char* name, std::initializer_list<T> values) {
    return values.begin()[below(name, static_cast<int64_t>(values.size()))];
  }
  // 1 to `most`: small, any, or at and beside a multiple of 16.
  int64_t size(const char* name, int64_t most) {
    const int64_t word = take(2), value = word / 4;
    int64_t size = 1 + value % most;
    if (word % 4 == 0) size = 1 + value % std::min<int64_t>(most, 9);
    if (word % 4 == 1) size = 16 * (1 + value / 3 % (most / 16 + 1)) + value % 3 - 1;
    return note(name, std::clamp<int64_t>(size, 1, most));
  }

  // The case in words, and the end.
  [[noreturn]] static void fail(const std::string& what) {
    std::string words;
    for (const auto& [name, value] : current()->notes_) words += fmt::format(" {} {}", name, value);
    fmt::print(stderr, "{}\nin:{}\n", what, words);
    std::fflush(stderr);
    std::abort();
  }
  int64_t note(const char* name, int64_t value) {
    notes_.emplace_back(name, value);
    return value;
  }

 private:
  static Choices*& current() {
    static Choices* choices = nullptr;
    return choices;
  }
  int64_t take(int bytes) {
    int64_t value = 0;
    for (int idx = 0; idx < bytes; ++idx) value = value << 8 | (at_ < end_ ? *at_++ : 0);
    return value;
  }
  const uint8_t *at_, *end_;
  std::vector<std::pair<const char*, int64_t>> notes_;
};

// One of the instruction sets of this machine, on one to three threads.
inline void choose_target(Choices& choices) {
  static const std::vector<int64_t> targets = usable_targets();  // once one is chosen there is only that
  const int64_t idx = choices.below("target", static_cast<int64_t>(targets.size()));
  use_only_target(targets[static_cast<size_t>(idx)]);
  set_num_threads(static_cast<int>(choices.below("helpers", 3)) + 1);
}

// A target's whole case: body(choices).
template <typename Body>
int run_case(const uint8_t* data, size_t size, const Body& body) {
  Choices choices(data, size);
  choose_target(choices);
  body(choices);
  return 0;
}

// Numbers of many kinds, none larger than `most`.
inline void fill(Choices& choices, Floats& to, float most = 1e30f, bool has_infinities = false) {
  enum Kind { normal, zeros, integers, small, tiny, large, outliers, spread, sparse, alternating, infinite };
  const int64_t kind = choices.below("values", has_infinities ? infinite + 1 : infinite);
  std::minstd_rand generator(static_cast<unsigned>(choices.below("seed", 1 << 16)) + 1);
  auto uniform = [&] { return static_cast<float>(generator() % (1 << 20)) / (1 << 19) - 1.0f; };
  auto bell = [&] { return 1.7f * (uniform() + uniform() + uniform()) / 1.7f; };  // deviation 1
  for (int64_t idx = 0; idx < to.size(); ++idx) {
    float value = bell();
    if (kind == zeros) value = 0.0f;
    if (kind == integers) value = std::round(8.0f * value);
    if (kind == small) value *= 1e-3f;
    if (kind == tiny) value *= 1e-38f;
    if (kind == large) value *= most / 4;
    if (kind == outliers && generator() % 37 == 0) value *= 1000.0f;
    if (kind == spread) value = std::ldexp(value, static_cast<int>(generator() % 60) - 40);
    if (kind == sparse && generator() % 8 != 0) value = 0.0f;
    if (kind == alternating) value = (idx % 2 == 0 ? 1.0f : -1.0f) + 1e-3f * value;
    if (kind == infinite && generator() % 61 == 0) value = std::copysign(INFINITY, value);
    to[idx] = std::isinf(value) ? value : std::clamp(value, -most, most);
  }
}

inline Floats filled(Choices& choices, int64_t count, float most = 1e30f, bool has_infinities = false) {
  Floats floats(count, choices.below("shift", 4));
  fill(choices, floats, most, has_infinities);
  return floats;
}

// What a kernel writes to: nothing before, between and behind the outputs may change. Its memory ends a
// vector behind the last one, so that this is seen without a sanitizer, too.
template <typename T>
class Guarded {
 public:
  // rows of `width` that are `stride` apart.
  Guarded(int64_t rows, int64_t width, int64_t stride, int64_t shift)
      : rows_(rows),
        width_(width),
        stride_(stride),
        shift_(shift),
        values_(static_cast<size_t>(shift + rows * stride + kBehind), guard()) {}
  T* data() { return values_.data() + shift_; }
  const T* row(int64_t idx) const { return values_.data() + shift_ + idx * stride_; }

  void check() const {
    for (int64_t idx = 0; idx < static_cast<int64_t>(values_.size()); ++idx) {
      const int64_t at = idx - shift_;
      const bool is_own = at >= 0 && at < rows_ * stride_ && at % stride_ < width_;
      if (!is_own && values_[static_cast<size_t>(idx)] != guard())
        Choices::fail(fmt::format("written where nothing belongs: {} of {} rows of {}, {} apart", at, rows_,
                                  width_, stride_));
    }
  }

 private:
  static constexpr int64_t kBehind = 64;
  static constexpr T guard() { return static_cast<T>(77); }
  int64_t rows_, width_, stride_, shift_;
  std::vector<T> values_;
};

// Within `bound` of a finite number; the same infinity; not a number where that is what comes out.
inline void expect_near(double got, double wanted, double bound, const char* what, int64_t row, int64_t col) {
  if (std::isnan(wanted) ? std::isnan(got) : got == wanted || std::fabs(got - wanted) <= bound) return;
  Choices::fail(
      fmt::format("{} [{}, {}] is {:.9g}, not {:.9g} within {:.3g}", what, row, col, got, wanted, bound));
}

// What float32 cannot hold on the way is no claim of any kernel.
constexpr double kMostFloat = 1e38;

}  // namespace vlm::kernels
