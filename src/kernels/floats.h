// For the tests and fuzz targets of kernels: numbers to compute with.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace vlm::kernels {

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
  int64_t size() const { return static_cast<int64_t>(values_.size()) - shift_; }
  float& operator[](int64_t idx) { return data()[idx]; }
  float operator[](int64_t idx) const { return data()[idx]; }

 private:
  std::vector<float> values_;
  int64_t shift_;
};

}  // namespace vlm::kernels
