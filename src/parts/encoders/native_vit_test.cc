#include "parts/encoders/native_vit.h"

#include <gtest/gtest.h>

#include "weights/source.h"

namespace vlm {
namespace {

VitConfig small_tower() {
  VitConfig config = VitConfig::siglip(Json::parse(
      R"({"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
          "image_size": 20, "patch_size": 4})",
      "config.json"));
  config.has_attention_pool = false;
  return config;
}

Tensor real_patches(int64_t rows, int64_t columns, int64_t height, int64_t width) {
  Tensor is_real = at::zeros({1, height, width}, at::kBool);
  is_real.narrow(1, 0, rows).narrow(2, 0, columns).fill_(true);
  return is_real;
}

TEST(NativeVit, PaddingChangesNothing) {
  at::NoGradGuard no_grad;
  Weights weights(random_source(7), {});
  NativeVit vit(small_tower(), weights);
  at::manual_seed(3);
  Tensor pixels = at::randn({1, 3, 12, 8});
  Tensor alone = vit(pixels, real_patches(3, 2, 3, 2));
  Tensor padded = vit(at::constant_pad_nd(pixels, {0, 12, 0, 8}, 0.5), real_patches(3, 2, 5, 5));
  Tensor shown = padded.view({1, 5, 5, 16}).narrow(1, 0, 3).narrow(2, 0, 2).reshape({1, 6, 16});
  EXPECT_LE((shown - alone).abs().max().item<double>(), 1e-5);
}

// A picture of the table's own size uses every cell once; half as many rows use every second one.
TEST(NativeVit, PositionsAreShares) {
  at::NoGradGuard no_grad;
  VitConfig config = small_tower();
  config.encoder.num_hidden_layers = 0;
  Weights weights(random_source(7), {});
  NativeVit vit(config, weights);
  Tensor whole = vit(at::zeros({1, 3, 20, 20}), real_patches(5, 5, 5, 5))[0];
  Tensor wide = vit(at::zeros({1, 3, 8, 20}), real_patches(2, 5, 2, 5))[0];
  EXPECT_TRUE(at::allclose(wide.narrow(0, 0, 5), whole.narrow(0, 0, 5)));   // row 0 of 2: row 0 of 5
  EXPECT_TRUE(at::allclose(wide.narrow(0, 5, 5), whole.narrow(0, 10, 5)));  // row 1 of 2: 0.5 lies in row 2
}

}  // namespace
}  // namespace vlm
