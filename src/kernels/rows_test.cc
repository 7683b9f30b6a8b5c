// Norms, rotary positions and functions of one element.
#include "kernels/definitions.h"
#include "kernels/elementwise.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/testing.h"

namespace vlm::kernels {
namespace {

const std::vector<int64_t> kWidths = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 64, 65, 1000, 5632};

// Within 4 units in the last place of the largest intermediate.
TEST(Norm, IsTheDefinition) {
  constexpr int64_t kRows = 3;
  constexpr double kEps = 1e-5;
  on_every_target([&] {
    for (int64_t width : kWidths)
      for (int64_t shift : {0, 1, 3}) {
        const int64_t stride = width + 2;
        Floats x = Floats::random(kRows * stride, 1, shift, 3.0f), weight = Floats::random(width, 2, shift);
        Floats bias = Floats::random(width, 3, shift), rms(kRows * width, shift), layer(kRows * width, shift);
        rms_norm(x.data(), stride, weight.data(), kEps, rms.data(), kRows, width);
        layer_norm(x.data(), stride, weight.data(), bias.data(), kEps, layer.data(), kRows, width);
        for (int64_t row = 0; row < kRows; ++row) {
          const float* at = x.data() + row * stride;
          double sum = 0, squares = 0, variance = 0;
          for (int64_t col = 0; col < width; ++col) sum += at[col], squares += double{at[col]} * at[col];
          double mean = sum / static_cast<double>(width);
          for (int64_t col = 0; col < width; ++col) variance += (at[col] - mean) * (at[col] - mean);
          variance /= static_cast<double>(width);
          for (int64_t col = 0; col < width; ++col) {
            double by_rms = at[col] / std::sqrt(squares / static_cast<double>(width) + kEps) * weight[col];
            ASSERT_NEAR(rms[row * width + col], by_rms, 1e-6 * (1 + std::fabs(by_rms))) << width;
            // Where all values are equal the mean's last place is divided by the root of eps.
            double by_layer = (at[col] - mean) / std::sqrt(variance + kEps) * weight[col] + bias[col];
            double bound =
                1e-6 * (1 + std::fabs(by_layer)) + 3e-7 * std::fabs(mean) / std::sqrt(variance + kEps);
            ASSERT_NEAR(layer[row * width + col], by_layer, bound) << width;
          }
        }
      }
  });
}

TEST(Norm, WeightAndBiasMayBeMissing) {
  on_every_target([] {
    Floats x = Floats::random(40, 4), y(40), ones(40);
    Floats wanted(40);
    for (int64_t idx = 0; idx < 40; ++idx) ones[idx] = 1.0f;
    layer_norm(x.data(), 40, ones.data(), nullptr, 1e-6f, wanted.data(), 1, 40);
    layer_norm(x.data(), 40, nullptr, nullptr, 1e-6f, y.data(), 1, 40);
    for (int64_t idx = 0; idx < 40; ++idx) ASSERT_FLOAT_EQ(y[idx], wanted[idx]);
  });
}

TEST(Rope, RotatesPairsAndCopiesTheRest) {
  on_every_target([] {
    for (int64_t half : {1, 2, 3, 4, 7, 8, 9, 16, 17, 32, 33})
      for (int64_t rest : {0, 1, 5}) {
        constexpr int64_t kTokens = 3, kHeads = 2;
        const int64_t width = 2 * half + rest, head_stride = width + 3,
                      token_stride = kHeads * head_stride + 1;
        Floats x = Floats::random(kTokens * token_stride, 5, rest), y(kTokens * kHeads * width, 1);
        Floats cos = Floats::random(kTokens * half, 6, 1), sin = Floats::random(kTokens * half, 7, 1);
        rope({x.data(), token_stride, head_stride, cos.data(), sin.data(), y.data(), kTokens, kHeads, width,
              half});
        for (int64_t token = 0; token < kTokens; ++token)
          for (int64_t head = 0; head < kHeads; ++head) {
            const float* from = x.data() + token * token_stride + head * head_stride;
            const float* to = y.data() + (token * kHeads + head) * width;
            for (int64_t r = 0; r < half; ++r) {
              double c = cos[token * half + r], s = sin[token * half + r];
              ASSERT_NEAR(to[r], from[r] * c - from[half + r] * s, 2e-6);
              ASSERT_NEAR(to[half + r], from[half + r] * c + from[r] * s, 2e-6);
            }
            for (int64_t idx = 2 * half; idx < width; ++idx) ASSERT_EQ(to[idx], from[idx]);
          }
      }
  });
}

TEST(Elementwise, EveryFunctionIsWithinItsBound) {
  on_every_target([] {
    for (Function function : {Function::identity, Function::relu, Function::relu_squared, Function::silu,
                              Function::tanh, Function::gelu_erf, Function::gelu_tanh, Function::gelu_quick})
      for (int64_t width : kWidths) {
        constexpr int64_t kRows = 2;
        Floats x = Floats::random(kRows * (width + 1), 8, width % 3, 4.0f), y(kRows * width, 1);
        Floats factor = Floats::random(kRows * (width + 2), 9, 1);
        x[0] = 200.0f;
        if (width > 1) x[1] = -200.0f;
        apply({function, x.data(), width + 1, nullptr, 0, y.data(), width, kRows, width});
        for (int64_t row = 0; row < kRows; ++row)
          for (int64_t col = 0; col < width; ++col) {
            double at = x[row * (width + 1) + col], wanted = exact(function, at);
            ASSERT_NEAR(y[row * width + col], wanted, 4e-7 * std::max({1.0, std::fabs(at), wanted})) << at;
          }
        apply({function, x.data(), width + 1, factor.data(), width + 2, y.data(), width, kRows, width});
        for (int64_t row = 0; row < kRows; ++row)
          for (int64_t col = 0; col < width; ++col) {
            double at = x[row * (width + 1) + col], by = factor[row * (width + 2) + col];
            double wanted = exact(function, at);  // larger than its argument when squared
            ASSERT_NEAR(y[row * width + col], wanted * by,
                        6e-7 * std::max({1.0, std::fabs(at), wanted}) * std::max(1.0, std::fabs(by)));
          }
      }
  });
}

TEST(Elementwise, AddsToWhatIsThere) {
  on_every_target([] {
    for (int64_t count : kWidths) {
      Floats x = Floats::random(count, 10, 1), y = Floats::random(count, 11, 3), before = y;
      add(x.data(), y.data(), count);
      for (int64_t idx = 0; idx < count; ++idx) ASSERT_EQ(y[idx], before[idx] + x[idx]) << count;
    }
  });
}

}  // namespace
}  // namespace vlm::kernels
