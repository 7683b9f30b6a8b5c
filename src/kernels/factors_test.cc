#include "kernels/factors.h"

#include "base/half.h"
#include "kernels/testing.h"

namespace vlm::kernels {
namespace {

// A factor [rows, in] of numbers that bfloat16 holds, either way round.
struct Numbers {
  Numbers(int64_t rows, int64_t in, bool is_transposed, unsigned seed)
      : stride((is_transposed ? rows : in) + 3),
        floats(Floats::random((is_transposed ? in : rows) * stride, seed, 1)) {
    for (int64_t idx = 0; idx < floats.size(); ++idx) floats[idx] = bf16_to_float(float_to_bf16(floats[idx]));
    factor = {floats.data(), stride, is_transposed};
  }
  float at(int64_t row, int64_t idx) const {
    return factor.is_transposed ? floats[idx * stride + row] : floats[row * stride + idx];
  }
  int64_t stride;
  Floats floats;
  Factor factor;
};

void check_factors(bool rounds, int64_t rows, int64_t in, int64_t out, bool a_is_transposed,
                   bool b_is_transposed) {
  const Numbers a(rows, in, a_is_transposed, 25), b(out, in, b_is_transposed, 26);
  const Floats bias = Floats::random(out, 27);
  const int64_t y_stride = out + 2;
  Floats y(rows * y_stride, 1);
  for (int64_t idx = 0; idx < y.size(); ++idx) y[idx] = 77.0f;
  const float* bias_or_null = rows % 2 == 0 ? bias.data() : nullptr;
  multiply_factors({a.factor, b.factor, y.data(), y_stride, rows, out, in, bias_or_null, rounds});
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < out; ++col) {
      double wanted = bias_or_null ? bias[col] : 0.0, magnitude = std::fabs(wanted);
      for (int64_t idx = 0; idx < in; ++idx) {
        const double term = static_cast<double>(a.at(row, idx)) * b.at(col, idx);
        wanted += term, magnitude += std::fabs(term);
      }
      ASSERT_NEAR(y[row * y_stride + col], wanted, 1e-6 * magnitude) << row << " " << col;
    }
    for (int64_t gap = out; gap < y_stride; ++gap) ASSERT_EQ(y[row * y_stride + gap], 77.0f);
  }
}

TEST(Factors, AreMultipliedEitherWayRound) {
  on_every_target([] {
    for (bool rounds : {false, true})
      for (bool a_is_transposed : {false, true})
        for (bool b_is_transposed : {false, true}) {
          if (rounds && !multiplies_pairs()) continue;
          for (int64_t in = 1; in <= 35; ++in)
            check_factors(rounds, 1 + in * 7 % 45, in, 1 + in * 5 % 37, a_is_transposed, b_is_transposed);
          check_factors(rounds, 101, 1325, 150, a_is_transposed,
                        b_is_transposed);  // beyond one block of anything
        }
  });
}

TEST(Factors, AreTakenInPartsOfRows) {
  const bool rounds = multiplies_pairs();
  for (bool is_transposed : {false, true})
    check_factors(rounds, 32 * 14 + 5, 40000, 3, is_transposed, !is_transposed);
}

TEST(Factors, AreRoundedToTheNearestEven) {
  if (!multiplies_pairs()) return;
  for (bool is_transposed : {false, true}) {
    const std::vector<float> a{1.0f + 0x1p-8f, 1.0f + 3 * 0x1p-8f, -1.0f - 0x1p-8f - 0x1p-20f},
        b{1.0f, 1.0f, 1.0f};
    float y[3];
    for (int64_t idx = 0; idx < 3; ++idx)
      multiply_factors({{&a[static_cast<size_t>(idx)], 1, is_transposed},
                        {b.data(), 1, false},
                        &y[idx],
                        1,
                        1,
                        1,
                        1,
                        nullptr,
                        true});
    ASSERT_EQ(y[0], 1.0f);
    ASSERT_EQ(y[1], 1.0f + 4 * 0x1p-8f);
    ASSERT_EQ(y[2], -1.0f - 2 * 0x1p-8f);
  }
}

}  // namespace
}  // namespace vlm::kernels
