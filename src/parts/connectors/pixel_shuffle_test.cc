#include "parts/connectors/pixel_shuffle.h"

#include <gtest/gtest.h>

namespace vlm {
namespace {

TEST(PixelShuffle, NeighboursJoinRowByRow) {
  // 2 x 4 patches of width 1, numbered as they are read.
  Tensor x = at::arange(8, at::kFloat).view({1, 8, 1});
  Tensor wanted = at::tensor({0.f, 1.f, 4.f, 5.f, 2.f, 3.f, 6.f, 7.f}).view({1, 2, 4});
  EXPECT_TRUE(at::equal(pixel_shuffle(x, 2, 4, 2), wanted));
}

TEST(PixelShuffle, FeaturesOfOnePatchStayTogether) {
  Tensor x = at::arange(16, at::kFloat).view({2, 4, 2});
  EXPECT_TRUE(at::equal(pixel_shuffle(x, 2, 2, 2), x.view({2, 1, 8})));
  EXPECT_TRUE(at::equal(pixel_shuffle(x, 2, 2, 1), x));
}

}  // namespace
}  // namespace vlm
