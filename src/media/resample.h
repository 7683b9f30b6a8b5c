// The weights of separable resampling, shared by the Pillow and the torch flavours, and the 8-bit passes over
// them. Internal to media/.
#pragma once

#include <cstdint>
#include <vector>

#include "media/image.h"

// The passes are compiled for what every x86-64 has and for AVX2 with FMA, and chosen when the program
// starts; they are loops that the compiler turns into vectors. Sanitizers cannot run inside that choice.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__clang__)
#define VLM_PER_CPU __attribute__((target_clones("arch=x86-64-v3", "default"), optimize("O3")))
#else
#define VLM_PER_CPU
#endif

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

struct FixedTaps : Taps<int32_t> {
  int precision = 0;  // weights are scaled by 2^precision
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

FixedTaps fixed_taps(const Taps<double>& taps, int precision);

// One pass; the other side keeps its size. Sums are rounded to 8 bits.
Image resample_horizontally(const Image& image, const FixedTaps& taps);
Image resample_vertically(const Image& image, const FixedTaps& taps);

// Output (y, x) is input (rows[y], columns[x]).
Image gather_pixels(const Image& image, const std::vector<int64_t>& rows,
                    const std::vector<int64_t>& columns);

}  // namespace vlm
