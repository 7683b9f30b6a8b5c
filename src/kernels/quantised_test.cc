#include "kernels/quantised.h"

#include "base/half.h"
#include "kernels/testing.h"

namespace vlm::kernels {
namespace {

// Owns what a QuantisedMatrix points to.
struct Owner {
  Owner(int bits, bool has_minimums, int64_t out, int64_t in, bool is_rotated = false)
      : view{bits, has_minimums, out, in, nullptr, nullptr, is_rotated} {
    blocks.resize(static_cast<size_t>(view.blocks_bytes() + 64));
    row_scales.resize(static_cast<size_t>(view.padded_out()));
    view.blocks = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(blocks.data()) + 63) / 64 * 64);
    view.row_scales = row_scales.data();
  }
  std::vector<float> weights() const {
    std::vector<float> values(static_cast<size_t>(view.out * view.in));
    dequantise(view, values.data());
    return values;
  }
  std::vector<uint8_t> blocks;
  std::vector<float> row_scales;
  QuantisedMatrix view;
};

// The squared error of `count` values, each counted by its importance, on `steps` equal steps from low to
// high.
double error_of_steps(const float* group, int64_t count, double low, double high, int steps,
                      const float* importance) {
  double step = (high - low) / steps, error = 0;
  for (int64_t idx = 0; idx < count; ++idx) {
    double nearest = step > 0 ? std::nearbyint((group[idx] - low) / step) * step + low : low;
    error += (importance ? importance[idx] : 1.0) * (nearest - group[idx]) * (nearest - group[idx]);
  }
  return error;
}

// 8 bits: every weight is within half a step, and the float16 rounding of its scale. 4 bits: the group's
// squared error is at most that of 16 values spread over its range and of their start in whole eighths of a
// step, and no weight is further off than the step by which the range may be cut.
void expect_close(const Floats& weights, const Owner& owner) {
  std::vector<float> got = owner.weights();
  int64_t count = 0;
  for (int64_t start = 0; start < owner.view.out * owner.view.in; start += count) {
    const float* group = weights.data() + start;
    count = std::min(kGroup, owner.view.in - start % owner.view.in);
    auto [low, high] = std::minmax_element(group, group + count);
    double largest = std::max(std::fabs(*low), std::fabs(*high));
    bool is_int8 = owner.view.bits == 8;
    double bound = is_int8 ? 0.5 * largest / 127 : 1.5 * (*high - *low) / 15.0;
    double error = 0;
    for (int64_t idx = 0; idx < count; ++idx) {
      double difference = got[static_cast<size_t>(start + idx)] - group[idx];
      ASSERT_LE(std::fabs(difference), bound + largest * 1e-3)
          << owner.view.bits << " bits, element " << start + idx;
      error += difference * difference;
    }
    if (is_int8) continue;
    double plain = error_of_steps(group, count, *low, *high, 15, nullptr),
           of_eighths = std::pow((*high - *low) / 15.0 / 16, 2), of_halves = std::pow(largest * 5e-4, 2);
    ASSERT_LE(error, plain * 1.01 + kGroup * (of_eighths + of_halves)) << "group at " << start;
  }
}

TEST(Quantise, StaysClose) {
  on_every_target([] {
    for (int bits : {8, 4})
      for (int64_t out : {1, 15, 16, 17, 40})
        for (int64_t in : {32, 96, 1024, 8, 72, 1016}) {
          Floats weights = Floats::random(out * in, 1, 1);
          Owner owner(bits, bits == 4, out, in);
          quantise(weights.data(), Float::f32, in, owner.view);
          expect_close(weights, owner);
        }
  });
}

TEST(Quantise, KeepsRowsOfVeryDifferentSize) {
  Floats weights = Floats::random(20 * 64, 2);
  for (int64_t row = 0; row < 20; ++row)
    for (int64_t col = 0; col < 64; ++col) weights[row * 64 + col] *= std::pow(10.0f, row - 12);
  for (int bits : {8, 4}) {
    Owner owner(bits, bits == 4, 20, 64);
    quantise(weights.data(), Float::f32, 64, owner.view);
    expect_close(weights, owner);
  }
}

TEST(Quantise, HalfPrecisionGivesTheSameAsItsFloats) {
  on_every_target([] {
    constexpr int64_t kOut = 19, kIn = 88, kStride = 90;
    Floats weights = Floats::random(kOut * kStride, 3);
    for (Float type : {Float::bf16, Float::f16}) {
      std::vector<uint16_t> halves(kOut * kStride);
      for (int64_t idx = 0; idx < kOut * kStride; ++idx) {
        uint16_t bits = type == Float::bf16 ? float_to_bf16(weights[idx]) : float_to_half(weights[idx]);
        halves[static_cast<size_t>(idx)] = bits;
        weights[idx] = type == Float::bf16 ? bf16_to_float(bits) : half_to_float(bits);
      }
      for (int bits : {8, 4}) {
        Owner one(bits, bits == 4, kOut, kIn), two(bits, bits == 4, kOut, kIn);
        quantise(weights.data(), Float::f32, kStride, one.view);
        quantise(halves.data(), type, kStride, two.view);
        EXPECT_EQ(one.weights(), two.weights());
      }
    }
  });
}

double relative_error(const std::vector<float>& got, const Floats& wanted) {
  double error = 0, squares = 0;
  for (size_t idx = 0; idx < got.size(); ++idx) {
    const double value = wanted[static_cast<int64_t>(idx)];
    error += std::pow(got[idx] - value, 2);
    squares += value * value;
  }
  return std::sqrt(error / squares);
}

// Normal weights: 256 of them reach three times their deviation, rounding takes 2 / 127 / sqrt(12) of that at
// most. What lies in a few inputs is spread: its group loses no more.
TEST(QuantiseRotated, StaysClose) {
  on_every_target([] {
    for (int64_t out : {1, 15, 16, 17, 40})
      for (int64_t in : {8, 128, 136, 256, 1000, 1152}) {
        Floats weights = Floats::random(out * in, 12, 1);
        Owner owner(8, false, out, in, true);
        EXPECT_EQ(owner.view.blocks_bytes(),
                  owner.view.padded_out() * (rotated_width(in) + 2 * long_groups_of(in)));
        quantise(weights.data(), Float::f32, in, owner.view);
        EXPECT_LE(relative_error(owner.weights(), weights), 0.0085) << out << " x " << in;
        for (int64_t row = 0; row < out; ++row) weights[row * in + in / 2] *= 30.0f;
        quantise(weights.data(), Float::f32, in, owner.view);
        EXPECT_LE(relative_error(owner.weights(), weights), 0.0085) << out << " x " << in << ", outliers";
      }
  });
}

TEST(QuantiseRotated, TakesWeightsOfEveryPrecisionAndSize) {
  on_every_target([] {
    constexpr int64_t kOut = 19, kIn = 392, kStride = 394;
    Floats weights = Floats::random(kOut * kStride, 13);
    for (int64_t idx = 0; idx < weights.size(); ++idx)
      weights[idx] = bf16_to_float(float_to_bf16(weights[idx] * std::pow(10.0f, idx / kStride % 7 * 4 - 12)));
    std::vector<uint16_t> halves;
    for (int64_t idx = 0; idx < weights.size(); ++idx) halves.push_back(float_to_bf16(weights[idx]));
    Owner one(8, false, kOut, kIn, true), two(8, false, kOut, kIn, true);
    quantise(weights.data(), Float::f32, kStride, one.view);
    quantise(halves.data(), Float::bf16, kStride, two.view);
    EXPECT_EQ(one.weights(), two.weights());
    for (int64_t row = 0; row < kOut; ++row) {
      Floats wanted(kIn);
      std::vector<float> got;
      for (int64_t idx = 0; idx < kIn; ++idx) {
        wanted[idx] = weights[row * kStride + idx];
        got.push_back(one.weights()[static_cast<size_t>(row * kIn + idx)]);
      }
      EXPECT_LE(relative_error(got, wanted), 0.0085) << row;
    }
    quantise(Floats(kOut * kStride).data(), Float::f32, kStride, one.view);
    for (float value : one.weights()) EXPECT_EQ(value, 0.0f);
  });
}

// The search pays: on normal weights it takes at least a seventh off the error of the plain range.
TEST(Quantise, FourBitsBeatThePlainRange) {
  constexpr int64_t kOut = 64, kIn = 512;
  Floats weights = Floats::random(kOut * kIn, 7);
  on_every_target([&] {
    Owner owner(4, true, kOut, kIn);
    quantise(weights.data(), Float::f32, kIn, owner.view);
    std::vector<float> got = owner.weights();
    double error = 0, plain = 0;
    for (int64_t start = 0; start < kOut * kIn; start += kGroup) {
      auto [low, high] = std::minmax_element(weights.data() + start, weights.data() + start + kGroup);
      plain += error_of_steps(weights.data() + start, kGroup, *low, *high, 15, nullptr);
      for (int64_t idx = start; idx < start + kGroup; ++idx)
        error += std::pow(got[static_cast<size_t>(idx)] - weights[idx], 2);
    }
    EXPECT_LT(error, plain * 6 / 7);
  });
}

// Rounding twice is rounding once.
TEST(Quantise, FourBitsThatWereRoundedBeforeStay) {
  Floats weights = Floats::random(16 * 64, 11);
  Owner once(4, true, 16, 64), twice(4, true, 16, 64);
  quantise(weights.data(), Float::f32, 64, once.view);
  std::vector<float> first = once.weights();
  quantise(first.data(), Float::f32, 64, twice.view);
  std::vector<float> second = twice.weights();
  for (size_t idx = 0; idx < first.size(); ++idx) EXPECT_NEAR(second[idx], first[idx], 4e-3) << idx;
}

// A few inputs are far more active than the others, as in language models: their errors shrink, and so does
// the sum that counts.
TEST(Quantise, MindsWhatIsImportant) {
  constexpr int64_t kOut = 64, kIn = 520;
  Floats weights = Floats::random(kOut * kIn, 8);
  std::vector<float> importance(kIn);
  std::mt19937 generator(9);
  for (float& value : importance) value = generator() % 16 == 0 ? 400.0f : 1.0f;
  on_every_target([&] {
    for (int bits : {8, 4}) {
      Owner plain(bits, bits == 4, kOut, kIn), weighted(bits, bits == 4, kOut, kIn);
      quantise(weights.data(), Float::f32, kIn, plain.view);
      quantise(weights.data(), Float::f32, kIn, weighted.view, importance.data());
      auto error_of = [&](const Owner& owner) {
        std::vector<float> got = owner.weights();
        double error = 0;
        for (int64_t idx = 0; idx < kOut * kIn; ++idx)
          error += importance[static_cast<size_t>(idx % kIn)] *
                   std::pow(got[static_cast<size_t>(idx)] - weights[idx], 2);
        return error;
      };
      EXPECT_LT(error_of(weighted), error_of(plain) * (bits == 4 ? 0.8 : 0.95)) << bits;
    }
  });
}

TEST(Quantise, InputsWithoutImportanceDoNoHarm) {
  Floats weights = Floats::random(16 * 64, 10);
  std::vector<float> importance(64, 0.0f);
  for (int bits : {8, 4}) {
    Owner owner(bits, bits == 4, 16, 64);
    quantise(weights.data(), Float::f32, 64, owner.view, importance.data());
    expect_close(weights, owner);
  }
}

TEST(Quantise, ZerosStayZero) {
  Floats weights(16 * 32);
  for (int bits : {8, 4}) {
    Owner owner(bits, bits == 4, 16, 32);
    quantise(weights.data(), Float::f32, 32, owner.view);
    for (float value : owner.weights()) EXPECT_EQ(value, 0.0f);
  }
}

// 40 inputs: a group of 32 and one of 8.
TEST(PackGroups, TakesALastGroupThatIsShort) {
  std::mt19937 generator(5);
  for (int bits : {8, 4})
    for (int64_t out : {1, 16, 21}) {
      constexpr int64_t kIn = 40, kGroups = 2;
      std::vector<uint8_t> quants(static_cast<size_t>(out * kIn * bits / 8)), quants_again(quants.size());
      for (uint8_t& byte : quants) byte = static_cast<uint8_t>(generator());
      std::vector<float> scales(static_cast<size_t>(out * kGroups)), scales_again(scales.size());
      for (float& scale : scales) scale = half_to_float(static_cast<uint16_t>(0x2000 + generator() % 4096));
      Owner owner(bits, false, out, kIn);
      pack_groups(quants.data(), scales.data(), nullptr, kGroups, owner.view);
      unpack_groups(owner.view, quants_again.data(), scales_again.data(), nullptr);
      EXPECT_EQ(quants, quants_again);
      EXPECT_EQ(scales, scales_again);
    }
}

TEST(PackGroups, IsUndoneByUnpackGroups) {
  std::mt19937 generator(4);
  for (int bits : {8, 4})
    for (bool has_minimums : {false, true})
      for (int64_t out : {1, 16, 21}) {
        constexpr int64_t kIn = 128, kGroups = 2;  // groups of 64
        std::vector<uint8_t> quants(static_cast<size_t>(out * kIn * bits / 8));
        for (uint8_t& byte : quants) byte = static_cast<uint8_t>(generator());
        std::vector<float> scales(static_cast<size_t>(out * kGroups)), minimums(scales.size());
        for (float& scale : scales) scale = half_to_float(static_cast<uint16_t>(0x2000 + generator() % 4096));
        for (size_t idx = 0; idx < minimums.size(); ++idx)
          minimums[idx] = scales[idx] * (static_cast<float>(generator() % 136) - 128.0f) / 8.0f;
        Owner owner(bits, has_minimums, out, kIn);
        pack_groups(quants.data(), scales.data(), has_minimums ? minimums.data() : nullptr, kGroups,
                    owner.view);

        std::vector<uint8_t> quants_again(quants.size());
        std::vector<float> scales_again(static_cast<size_t>(out * kIn / kGroup)),
            minimums_again(scales_again.size());
        unpack_groups(owner.view, quants_again.data(), scales_again.data(),
                      has_minimums ? minimums_again.data() : nullptr);
        EXPECT_EQ(quants, quants_again);
        for (size_t idx = 0; idx < scales_again.size(); ++idx) {
          EXPECT_EQ(scales_again[idx], scales[idx / 2]);
          EXPECT_EQ(minimums_again[idx], has_minimums ? minimums[idx / 2] : 0.0f);
        }
      }
}

}  // namespace
}  // namespace vlm::kernels
