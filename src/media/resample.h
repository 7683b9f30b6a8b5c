// The weights of separable resampling, shared by the Pillow and the torch flavours, and the 8-bit passes over
// them. Internal to media/.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/resample.h"
#include "media/image.h"

namespace vlm {

// Output i is the sum over k < count[i] of weights[i * width + k] * input[first[i] + k].
template <typename T>
struct Taps {
  int64_t width = 0;  // most taps of any output
  std::vector<int64_t> first;
  std::vector<int64_t> count;
  std::vector<T> weights;  // [outputs, width], zero behind count
  int64_t outputs() const { return static_cast<int64_t>(first.size()); }
};

// The filter stretched by the scale when shrinking, its weights normalised where the border cuts it. T is the
// type the reference computes in: double in Pillow and for torch's bytes, float for torch's floats; where a
// window begins depends on it.
template <typename T>
Taps<T> antialias_taps(int64_t input, int64_t output, Filter filter);

// Two or four taps (linear, or cubic with a = -0.75) wherever the scale leads; taps beyond the border count
// for the border's pixel.
template <typename T>
Taps<T> interpolation_taps(int64_t input, int64_t output, Filter filter);

// Weights as integers, scaled by 2^precision; outputs [begin, begin + size) alone.
kernels::ByteTaps fixed_taps(const Taps<double>& taps, int precision, int64_t begin, int64_t size);

// What happens to one side of a picture: weighted sums, or only a part of it is kept.
struct BytePass {
  std::optional<kernels::ByteTaps> taps;
  int64_t begin = 0, size = 0;  // the part, where there are no taps
  int64_t outputs() const { return taps ? taps->outputs() : size; }
};

// Both passes; sums are rounded to 8 bits after each. Rows run through them few at a time, so that what is
// between the passes stays in the cache.
Image resample(const Image& image, const Ground& ground, const BytePass& vertical, const BytePass& horizontal,
               bool vertical_first);

// Output (y, x) is input (rows[y], columns[x]).
Image gather_pixels(const Image& image, const std::vector<int64_t>& rows,
                    const std::vector<int64_t>& columns);

}  // namespace vlm
