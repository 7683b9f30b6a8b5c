#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace vlm {
namespace {

TEST(Half, EveryValueSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    EXPECT_EQ(float_to_half(value), bits);
    float brain = bf16_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(brain)) continue;
    EXPECT_EQ(float_to_bf16(brain), bits);
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(half_to_float(float_to_half(2049.0f)), 2048.0f);
  EXPECT_EQ(half_to_float(float_to_half(2051.0f)), 2052.0f);
  EXPECT_EQ(half_to_float(float_to_half(65520.0f)), std::numeric_limits<float>::infinity());
  EXPECT_EQ(half_to_float(float_to_half(3e-8f)), 5.9604644775390625e-8f);
  EXPECT_EQ(bf16_to_float(float_to_bf16(1.00390625f)), 1.0f);
}

}  // namespace
}  // namespace vlm
