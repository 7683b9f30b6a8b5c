// For the tests and the fuzz target of resampling: weights as a resize has them, and plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/resample.h"

namespace vlm::kernels {

// A sum of weighted bytes as the byte it becomes.
inline uint8_t byte_of(int64_t sum, int precision) {
  return static_cast<uint8_t>(
      std::clamp<int64_t>((sum + (int64_t{1} << (precision - 1))) >> precision, 0, 255));
}

// Output `idx` of inputs `stride` apart.
inline uint8_t exact(const ByteTaps& taps, int64_t idx, const uint8_t* input, int64_t stride) {
  int64_t sum = 0;
  for (int64_t k = 0; k < taps.count[idx]; ++k)
    sum += int64_t{taps.weights[idx * taps.width + k]} * input[(taps.first[idx] + k) * stride];
  return byte_of(sum, taps.precision);
}
inline float exact(const FloatTaps& taps, int64_t idx, const float* input, int64_t stride) {
  float sum = 0;
  for (int64_t k = 0; k < taps.count[idx]; ++k)
    sum = std::fma(input[(taps.first[idx] + k) * stride], taps.weights[idx * taps.width + k], sum);
  return sum;
}

// Windows of up to `width` inputs that move to the right, as a resize has them.
template <typename Generator>
ByteTaps random_taps(int64_t inputs, int64_t outputs, int64_t width, int precision, int32_t largest,
                     Generator& generator) {
  std::vector<int64_t> first(static_cast<size_t>(outputs)), count(static_cast<size_t>(outputs));
  std::vector<int32_t> weights(static_cast<size_t>(outputs * width));
  // Sums fit 32 bits, as any filter's do.
  largest = static_cast<int32_t>(
      std::min<int64_t>(largest, (INT32_MAX - (int64_t{1} << precision)) / (255 * width)));
  for (size_t i = 0; i < first.size(); ++i) {
    count[i] = 1 + static_cast<int64_t>(generator() % static_cast<unsigned>(width));
    first[i] = static_cast<int64_t>(generator() % static_cast<unsigned>(inputs - count[i] + 1));
    for (int64_t k = 0; k < count[i]; ++k)
      weights[i * static_cast<size_t>(width) + static_cast<size_t>(k)] =
          static_cast<int32_t>(generator() % (2 * static_cast<unsigned>(largest) + 1)) - largest;
  }
  std::sort(first.begin(), first.end());
  for (size_t i = 0; i < first.size(); ++i) count[i] = std::min(count[i], inputs - first[i]);
  return ByteTaps(first, count, weights, width, precision);
}

}  // namespace vlm::kernels
