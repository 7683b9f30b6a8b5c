#include "parts/processors/longest_side.h"

#include <gtest/gtest.h>

namespace vlm {
namespace {

LongestSide processor_of(const char* text) {
  return LongestSide::from(Json::parse(text, "preprocessor_config.json"));
}

TEST(LongestSide, FillsBelowAndToTheRight) {
  LongestSide processor =
      processor_of(R"({"image_processor_type": "SamImageProcessor", "size": {"longest_edge": 8},
      "pad_size": {"height": 8, "width": 8}})");
  Image image = Image::filled(5, 16, {255, 0, 0});
  EXPECT_EQ(processor.resized(image), (std::array<int64_t, 2>{3, 8}));  // 2.5 is rounded up
  Tensor pixels = processor(image);
  ASSERT_EQ(pixels.sizes(), at::IntArrayRef({3, 8, 8}));
  EXPECT_NEAR(pixels[0][2][7].item<double>(), (1 - 0.485) / 0.229, 1e-6);
  EXPECT_NEAR(pixels[1][0][0].item<double>(), -0.456 / 0.224, 1e-6);
  EXPECT_EQ(pixels.slice(1, 3).abs().max().item<double>(), 0);  // zeros, not the mean colour
  Image tall = Image::filled(16, 4, {0, 0, 0});
  EXPECT_EQ(processor.resized(tall), (std::array<int64_t, 2>{8, 2}));
  EXPECT_EQ(processor(tall).slice(2, 2).abs().max().item<double>(), 0);
}

TEST(LongestSide, ReadsItsOwnKindAlone) {
  EXPECT_TRUE(LongestSide::reads(Json::parse(R"({"image_processor_type": "SamImageProcessorFast"})", "p")));
  EXPECT_FALSE(LongestSide::reads(Json::parse(R"({"image_processor_type": "CLIPImageProcessor"})", "p")));
  EXPECT_THROW(processor_of(R"({"size": {"longest_edge": 8}, "pad_size": {"height": 8, "width": 9}})"),
               Error);
}

}  // namespace
}  // namespace vlm
