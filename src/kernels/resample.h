// Weighted sums of bytes, the passes of exact 8-bit resampling. Integers throughout, so that every
// instruction set gives the same bytes. Functions run on the calling thread.
#pragma once

#include <cstdint>
#include <vector>

namespace vlm::kernels {

// Output i is the sum over k < count[i] of weights[i * width + k] * input[first[i] + k], plus a half, over
// 2^precision, clamped to a byte. |weights| < 2^24, their sums with bytes fit 32 bits.
class ByteTaps {
 public:
  ByteTaps() = default;
  ByteTaps(std::vector<int64_t> first, std::vector<int64_t> count, std::vector<int32_t> weights,
           int64_t width, int precision);

  int64_t outputs() const { return static_cast<int64_t>(first.size()); }
  int64_t begin() const;  // the inputs that any output needs
  int64_t end() const;
  // Outputs [from, to) alone.
  ByteTaps slice(int64_t from, int64_t to) const;

  std::vector<int64_t> first;
  std::vector<int64_t> count;
  std::vector<int32_t> weights;  // [outputs, width], zero behind count
  int64_t width = 0;
  int precision = 0;

  // For products of 16-bit numbers: weight = high * 2^15 + low, rows of eight, beginning at an even input.
  std::vector<int16_t> low;
  std::vector<int16_t> high;  // empty where all weights fit `low`
  int64_t packed_width = 0;
};

// One row of pixels of three bytes for each row given; rows hold at least taps.end() pixels, targets
// taps.outputs().
void resample_pixels(const uint8_t* const* rows, int64_t num_rows, const ByteTaps& taps,
                     uint8_t* const* targets);

// Output `idx` of `taps`, where the inputs are whole rows of `length` bytes: rows[k] is input first[idx] + k.
void resample_rows(const uint8_t* const* rows, const ByteTaps& taps, int64_t idx, uint8_t* target,
                   int64_t length);

// The same over floats, each sum from its first input to its last with one rounding a step.
struct FloatTaps {
  const int64_t* first;
  const int64_t* count;
  const float* weights;  // [outputs, width]
  int64_t width;
  int64_t outputs;
};

// Rows of `width` without gaps to rows of taps.outputs.
void resample_floats(const float* source, int64_t rows, int64_t width, const FloatTaps& taps, float* target);

// Output `idx`, where the inputs are the rows of `source`.
void resample_float_rows(const float* source, int64_t width, const FloatTaps& taps, int64_t idx,
                         float* target);

}  // namespace vlm::kernels
