#include "media/draw.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"

namespace vlm {
namespace {

std::array<int, 3> pixel(const Image& image, int64_t y, int64_t x) {
  const uint8_t* p = image.row(y) + x * 3;
  return {p[0], p[1], p[2]};
}

TEST(Canvas, ShapesLandWhereTheyAreAsked) {
  Canvas canvas(40, 60, {1, 1, 1});
  canvas.fill_rectangle(10, 5, 20, 10, {1, 0, 0});
  canvas.fill_ellipse({45, 20}, 8, 4, 0, {0, 0, 1});
  canvas.fill_ellipse({45, 30}, 0, 4, 0, {0, 0, 0});  // no area: nothing drawn, no error
  canvas.fill_polygon({{0, 39}, {20, 39}, {0, 20}}, {0, 1, 0});
  Image image = canvas.image();
  EXPECT_EQ(pixel(image, 4, 10), (std::array<int, 3>{255, 255, 255}));
  EXPECT_EQ(pixel(image, 5, 10), (std::array<int, 3>{255, 0, 0}));
  EXPECT_EQ(pixel(image, 14, 29), (std::array<int, 3>{255, 0, 0}));
  EXPECT_EQ(pixel(image, 15, 30), (std::array<int, 3>{255, 255, 255}));
  EXPECT_EQ(pixel(image, 20, 51), (std::array<int, 3>{0, 0, 255}));
  EXPECT_EQ(pixel(image, 26, 45), (std::array<int, 3>{255, 255, 255}));
  EXPECT_EQ(pixel(image, 36, 2), (std::array<int, 3>{0, 255, 0}));
}

TEST(Canvas, RoundTripKeepsPixels) {
  Image image = Image::filled(7, 5, {1, 2, 3});
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i * 7);
  EXPECT_EQ(Canvas(image).image().pixels, image.pixels);
}

TEST(Canvas, ClipsNest) {
  Canvas canvas(20, 20, {0, 0, 0});
  canvas.push_clip({{0, 0}, {10, 0}, {10, 20}, {0, 20}});
  canvas.push_clip_ellipse({10, 10}, 5, 5, 0);
  canvas.fill_rectangle(0, 0, 20, 20, {1, 1, 1});
  canvas.pop_clip();
  canvas.pop_clip();
  Image image = canvas.image();
  EXPECT_EQ(pixel(image, 10, 7)[0], 255);
  EXPECT_EQ(pixel(image, 10, 12)[0], 0);
  EXPECT_EQ(pixel(image, 10, 2)[0], 0);
  EXPECT_THROW(canvas.pop_clip(), Error);
}

TEST(Canvas, TextIsDrawnInsideItsExtent) {
  Canvas canvas(60, 300, {1, 1, 1});
  FontStyle font{.size_px = 24};
  auto extent = canvas.measure("Hamburg \xC3\xA9", font);
  EXPECT_GT(extent.width, 80);
  EXPECT_LT(extent.width, 160);
  EXPECT_GT(extent.height, extent.ascent);
  canvas.text({10, 10 + extent.ascent}, "Hamburg \xC3\xA9", font, {0, 0, 0});
  Image image = canvas.image();
  int64_t dark = 0, outside = 0;
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) {
      if (pixel(image, y, x)[0] > 128) continue;
      ++dark;
      outside += x < 9 || x > 11 + extent.width || y < 10 || y > 10 + extent.height;
    }
  }
  EXPECT_GT(dark, 300);
  EXPECT_EQ(outside, 0);
}

TEST(Canvas, MalformedTextIsDrawnNotFatal) {
  Canvas canvas(30, 100, {1, 1, 1});
  for (const char* text : {"\xFF\xFE", "a\xC3", "\xED\xA0\x80", "\xF4\x90\x80\x80", "a\nb\tc", ""}) {
    canvas.text({2, 20}, text, {}, {0, 0, 0});
    canvas.measure(text, {});
  }
  EXPECT_NO_THROW(canvas.image());
}

TEST(Canvas, BlendsMasks) {
  Canvas canvas(3, 2, {0, 0, 0});
  canvas.blend_mask({0, 1, 0, 255, 0, 0}, {1, 1, 1, 0.5});
  Image image = canvas.image();
  EXPECT_EQ(pixel(image, 0, 0)[0], 0);
  EXPECT_NEAR(pixel(image, 0, 1)[0], 128, 1);
  EXPECT_NEAR(pixel(image, 1, 1)[0], 128, 1);
}

TEST(Canvas, RefusesSizesByMessage) {
  try {
    Canvas canvas(40000, 10, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_request);
    EXPECT_NE(error.message().find("10 x 40000 pixels"), std::string::npos);
    EXPECT_NE(error.message().find("32767"), std::string::npos);
  }
}

}  // namespace
}  // namespace vlm
