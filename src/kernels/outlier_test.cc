// Language models have a few input channels 50 to 100 times the median, towers a few tokens with massive
// values. The yardstick is llama.cpp's scheme: activations in blocks of 32 with a float16 scale (Q8_0, and
// Q8_1 beside 4-bit weights with minimums), weights in Q8_0, Q4_0 or Q4_1. Products here must not be further
// from float32.
#include <gtest/gtest.h>

#include <array>
#include <functional>

#include "base/half.h"
#include "kernels/product.h"
#include "kernels/product_testing.h"
#include "kernels/testing.h"

namespace vlm::kernels {
namespace {

constexpr int64_t kRows = 24, kIn = 1024, kOut = 64;

float as_half(float value) {
  return half_to_float(float_to_half(value));
}

// A block of 32 as the scheme stores it, read back. The sum of the quants times the scale has a float16 of
// its own in Q8_1.
struct Block {
  std::array<double, 32> values{};
  double sum = 0;
};

Block q8(const float* x) {
  float largest = 0;
  for (int idx = 0; idx < 32; ++idx) largest = std::max(largest, std::fabs(x[idx]));
  const float scale = largest / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
  Block block;
  float sum = 0;
  for (size_t idx = 0; idx < 32; ++idx) {
    const float quant = std::round(x[idx] * inverse);
    sum += quant;
    block.values[idx] = quant * as_half(scale);
  }
  block.sum = as_half(sum * scale);
  return block;
}

Block q4_0(const float* w) {
  float extreme = 0;
  for (int idx = 0; idx < 32; ++idx)
    if (std::fabs(w[idx]) > std::fabs(extreme)) extreme = w[idx];
  const float scale = extreme / -8.0f, inverse = scale != 0 ? 1.0f / scale : 0.0f;
  Block block;
  for (size_t idx = 0; idx < 32; ++idx)
    block.values[idx] =
        (std::min(15.0f, std::floor(w[idx] * inverse + 8.5f)) - 8.0f) * static_cast<double>(as_half(scale));
  return block;
}

// `sum` is the minimum here.
Block q4_1(const float* w) {
  const auto [low, high] = std::minmax_element(w, w + 32);
  const float scale = (*high - *low) / 15.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
  Block block;
  for (size_t idx = 0; idx < 32; ++idx)
    block.values[idx] =
        std::min(15.0f, std::floor((w[idx] - *low) * inverse + 0.5f)) * static_cast<double>(as_half(scale));
  block.sum = as_half(*low);
  return block;
}

double yardstick(const float* x, const float* w, Block (*round_weights)(const float*), bool has_minimums) {
  double total = 0;
  for (int64_t start = 0; start < kIn; start += 32) {
    const Block a = q8(x + start), b = round_weights(w + start);
    for (size_t idx = 0; idx < 32; ++idx) total += a.values[idx] * b.values[idx];
    if (has_minimums) total += a.sum * b.sum;
  }
  return total;
}

// Root mean square, over rows, of the error relative to the row's length: so no row hides another.
double error_of(const Floats& x, const Floats& weights,
                const std::function<double(int64_t row, int64_t col)>& value) {
  double mean = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    double squares = 0, total = 0;
    for (int64_t col = 0; col < kOut; ++col) {
      double exact = 0;
      for (int64_t idx = 0; idx < kIn; ++idx)
        exact += static_cast<double>(x[row * kIn + idx]) * weights[col * kIn + idx];
      const double difference = value(row, col) - exact;
      squares += difference * difference;
      total += exact * exact;
    }
    mean += squares / total / kRows;
  }
  return std::sqrt(mean);
}

Floats activations(bool has_outlier_channels, bool has_massive_tokens, unsigned seed) {
  Floats x = Floats::random(kRows * kIn, seed);
  for (int64_t row = 0; row < kRows && has_outlier_channels; ++row)
    for (int64_t channel : {7, 300, 301, 777})
      x[row * kIn + channel] *= 50.0f + static_cast<float>(channel % 51);
  for (int64_t row : {0, 13})
    for (int64_t channel : {64, 500})
      if (has_massive_tokens) x[row * kIn + channel] = channel == 64 ? 1500.0f : -700.0f;
  return x;
}

TEST(QuantisedProducts, AreNoFurtherFromFloatsThanBlocksOf32) {
  for (const auto& [has_outliers, has_massive] :
       {std::pair{false, false}, {true, false}, {false, true}, {true, true}}) {
    const Floats x = activations(has_outliers, has_massive, 18);
    const Floats weights = Floats::random(kOut * kIn, 19, 0, 0.05f);
    auto scheme = [&](Block (*round_weights)(const float*), bool has_minimums) {
      return error_of(x, weights, [&](int64_t row, int64_t col) {
        return yardstick(x.data() + row * kIn, weights.data() + col * kIn, round_weights, has_minimums);
      });
    };
    const double allowed8 = scheme(q8, false);
    const double allowed4 = std::min(scheme(q4_0, false), scheme(q4_1, true));
    for (int bits : {8, 4}) {
      const Memory memory = quantised(weights, bits, kOut, kIn);
      on_every_target([&] {
        for (auto kernel : {few_rows_quantised, many_rows_quantised}) {
          Floats y(kRows * kOut);
          const int64_t step = kernel == few_rows_quantised ? kFewRows : kRows;
          for (int64_t row = 0; row < kRows; row += step)
            kernel({x.data() + row * kIn, kIn, y.data() + row * kOut, kOut, step, nullptr}, memory.view);
          EXPECT_LE(error_of(x, weights, [&](int64_t row, int64_t col) { return y[row * kOut + col]; }),
                    bits == 8 ? allowed8 : allowed4)
              << bits << " bits, " << (has_outliers ? "with" : "without") << " outlier channels, "
              << (has_massive ? "with" : "without") << " massive tokens";
        }
      });
    }
  }
}

}  // namespace
}  // namespace vlm::kernels
