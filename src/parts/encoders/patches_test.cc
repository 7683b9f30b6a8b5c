#include "parts/encoders/patches.h"

#include <gtest/gtest.h>

namespace vlm {
namespace {

TEST(Patches, AreTheConvolution) {
  at::manual_seed(1);
  for (bool has_bias : {false, true}) {
    Tensor pixels = at::randn({2, 3, 17, 23}, at::kDouble), weight = at::randn({5, 3, 4, 4}, at::kDouble);
    Tensor bias = has_bias ? at::randn({5}, at::kDouble) : Tensor();
    Tensor wanted = at::conv2d(pixels, weight, bias, {4, 4}).permute({0, 2, 3, 1});
    Tensor found = embed_patches(pixels, weight, bias);
    ASSERT_EQ(found.sizes(), wanted.sizes());
    EXPECT_LE((found - wanted).abs().max().item<double>(), 1e-12);
  }
}

}  // namespace
}  // namespace vlm
