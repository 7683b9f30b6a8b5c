// For the tests of kernels: every instruction set of this machine, and numbers to compute with.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/cpu.h"

namespace vlm::kernels {

template <typename Body>
void on_every_target(const Body& body) {
  for (int64_t target : usable_targets()) {
    SCOPED_TRACE(target_name(target));
    use_only_target(target);
    body();
  }
  use_only_target(0);
}

// Values that do not start where a vector would: `data()` is `shift` floats off.
class Floats {
 public:
  Floats(int64_t count, int64_t shift = 0) : values_(static_cast<size_t>(count + shift)), shift_(shift) {}
  static Floats random(int64_t count, unsigned seed, int64_t shift = 0, float scale = 1.0f) {
    Floats floats(count, shift);
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0.0f, scale);
    for (float& value : floats.values_) value = normal(generator);
    return floats;
  }
  float* data() { return values_.data() + shift_; }
  const float* data() const { return values_.data() + shift_; }
  float& operator[](int64_t idx) { return data()[idx]; }
  float operator[](int64_t idx) const { return data()[idx]; }

 private:
  std::vector<float> values_;
  int64_t shift_;
};

}  // namespace vlm::kernels
