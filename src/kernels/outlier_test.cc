// Language models have a few input channels 50 to 100 times the median, towers a few tokens with massive
// values. The yardstick is llama.cpp's scheme: activations in blocks of 32 with a float16 scale (Q8_0, and
// Q8_1 beside 4-bit weights with minimums), weights in Q8_0, Q4_0 or Q4_1. Of such activations products here
// must not be further from float32.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <numeric>
#include <vector>

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

// Root mean square, over these rows, of the error relative to the row's length: so no row hides another.
double error_of(const Floats& x, const Floats& weights, const std::vector<int64_t>& rows,
                const std::function<double(int64_t row, int64_t col)>& value) {
  double mean = 0;
  for (int64_t row : rows) {
    double squares = 0, total = 0;
    for (int64_t col = 0; col < kOut; ++col) {
      double exact = 0;
      for (int64_t idx = 0; idx < kIn; ++idx)
        exact += static_cast<double>(x[row * kIn + idx]) * weights[col * kIn + idx];
      const double difference = value(row, col) - exact;
      squares += difference * difference;
      total += exact * exact;
    }
    mean += squares / total / static_cast<double>(rows.size());
  }
  return std::sqrt(mean);
}

struct Activations {
  const char* what;
  Floats x;
  std::vector<int64_t> rows;  // that are such
  // Of the yardstick's error, with 8 bits: few rows of a rotated matrix, many rows where they are rotated, of
  // such a matrix and of another.
  double few_rotated, many_rotated, many_expanded;
};

std::vector<Activations> kinds_of_activations() {
  std::vector<int64_t> all(kRows);
  std::iota(all.begin(), all.end(), 0);
  // Several, each with its own two inputs: the error of such a row is that of two columns of weights.
  const std::vector<int64_t> massive_rows{0, 3, 7, 11, 13, 18, 20, 23};
  auto random = [] { return Floats::random(kRows * kIn, 18); };
  auto with_outliers = [](Floats x) {
    for (int64_t row = 0; row < kRows; ++row)
      for (int64_t channel : {7, 300, 301, 777})
        x[row * kIn + channel] *= 50.0f + static_cast<float>(channel % 51);
    return x;
  };
  auto with_massive = [&](Floats x) {
    for (int64_t row : massive_rows)
      x[row * kIn + 64 + 5 * row] = 1500.0f, x[row * kIn + 500 + 9 * row] = -700.0f;
    return x;
  };
  std::vector<Activations> kinds;
  kinds.push_back({"plain", random(), all, 1.25, 1.35, 1.6});
  kinds.push_back({"outlier channels", with_outliers(random()), all, 0.7, 0.7, 0.6});
  kinds.push_back({"massive tokens", with_massive(random()), massive_rows, 1.0, 1.0, 0.8});
  kinds.push_back(
      {"massive tokens, outlier channels", with_massive(with_outliers(random())), all, 0.7, 0.7, 0.65});
  return kinds;
}

TEST(QuantisedProducts, AreNoFurtherFromFloatsThanBlocksOf32) {
  const Floats weights = Floats::random(kOut * kIn, 19, 0, 0.05f);
  std::array<Memory, 3> matrices{quantised(weights, 8, kOut, kIn), quantised(weights, 8, kOut, kIn, true),
                                 quantised(weights, 4, kOut, kIn)};
  for (const Activations& kind : kinds_of_activations()) {
    const Floats& x = kind.x;
    auto scheme = [&](Block (*round_weights)(const float*), bool has_minimums) {
      return error_of(x, weights, kind.rows, [&](int64_t row, int64_t col) {
        return yardstick(x.data() + row * kIn, weights.data() + col * kIn, round_weights, has_minimums);
      });
    };
    const double of_8_bits = scheme(q8, false), of_4_bits = std::min(scheme(q4_0, false), scheme(q4_1, true));
    for (const Memory& matrix : matrices)
      on_every_target([&] {
        for (auto kernel : {few_rows_quantised, many_rows_quantised}) {
          Floats y(kRows * kOut);
          const int64_t step = kernel == few_rows_quantised ? kFewRows : kRows;
          for (int64_t row = 0; row < kRows; row += step)
            kernel({x.data() + row * kIn, kIn, y.data() + row * kOut, kOut, step, nullptr}, matrix.view);
          const double error =
              error_of(x, weights, kind.rows, [&](int64_t row, int64_t col) { return y[row * kOut + col]; });
          // Long groups take what has no outliers less well, and what has them better.
          const bool is_many = kernel == many_rows_quantised;
          const bool is_int8 = matrix.view.bits == 8;
          double allowed = 1.0;
          if (matrix.view.is_rotated)
            allowed = is_many ? kind.many_rotated : kind.few_rotated;
          else if (is_int8 && is_many && are_many_rows_rotated())
            allowed = kind.many_expanded;
          EXPECT_LE(error, allowed * (is_int8 ? of_8_bits : of_4_bits))
              << matrix.view.bits << " bits" << (matrix.view.is_rotated ? ", rotated, " : ", ") << kind.what;
        }
      });
  }
}

}  // namespace
}  // namespace vlm::kernels
