#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>

#include "base/error.h"
#include "media/draw.h"
#include "media/test_pictures.h"

namespace vlm {
namespace {

std::vector<Annotation> scene(double width, double height) {
  auto box = [&](double x0, double y0, double x1, double y1, std::string label) {
    Annotation annotation;
    annotation.box_xyxy = {x0 * width, y0 * height, x1 * width, y1 * height};
    annotation.label = std::move(label);
    return annotation;
  };
  std::vector<Annotation> all = {box(0, 0, 0.4, 0.5, "corner"),
                                 box(0.01, 0.02, 0.42, 0.5, "the same place"),
                                 box(0.6, 0.3, 0.9, 0.7, "cat 0.97"),
                                 box(0.62, 0.32, 0.8, 0.6, "dog"),
                                 box(0.9, 0.9, 1.2, 1.3, "beyond the border"),
                                 box(0.5, 0.05, 0.55, 0.1, "tiny")};
  Annotation polygon;
  polygon.polygon = {
      {0.15 * width, 0.9 * height}, {0.3 * width, 0.6 * height}, {0.45 * width, 0.85 * height}};
  polygon.label = "triangle";
  all.push_back(polygon);
  Annotation point;
  point.polygon = {{0.5 * width, 0.5 * height}};
  point.label = "here";
  all.push_back(point);
  Annotation mask;
  mask.mask.resize(static_cast<size_t>(width * height));
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      double dx = (x / width - 0.75) / 0.1, dy = (y / height - 0.15) / 0.1;
      mask.mask[static_cast<size_t>(y * width + x)] = dx * dx + dy * dy < 1;
    }
  }
  mask.label = "mask";
  all.push_back(mask);
  return all;
}

Image background(int64_t height, int64_t width) {
  Canvas canvas(height, width, {0.5, 0.5, 0.5});
  canvas.fill_gradient({0.45, 0.65, 0.9}, {0.35, 0.5, 0.25});
  return canvas.image();
}

TEST(Annotate, DrawsOnPicturesOfAnySize) {
  for (auto [height, width] : {std::pair{80, 100}, {480, 640}, {1500, 2000}, {1, 1}, {3, 400}, {400, 3}}) {
    Image image = background(height, width);
    Image result = annotate(image, scene(width, height));
    EXPECT_EQ(result.height, height);
    EXPECT_EQ(result.width, width);
    EXPECT_NE(result.pixels, image.pixels);
    Image captioned = with_caption(result, "Three boxes, one of them beyond the border, and a triangle.");
    EXPECT_EQ(captioned.width, width);
    EXPECT_GT(captioned.height, height);
    EXPECT_TRUE(std::equal(result.pixels.begin(), result.pixels.end(), captioned.pixels.begin()));
    if (const char* folder = std::getenv("VLM_TEST_PICTURES")) {  // to look at them
      write_png(std::filesystem::path(folder) / fmt::format("annotated_{}x{}.png", width, height), captioned);
    }
  }
}

TEST(Annotate, BoxIsWhereItIsAsked) {
  Image image = Image::filled(200, 300, {128, 128, 128});
  Annotation annotation;
  annotation.box_xyxy = {50, 60, 150, 160};
  Image result = annotate(image, {annotation});
  EXPECT_GT(result.row(100)[50 * 3], 200);  // the first colour is red
  EXPECT_LT(result.row(100)[50 * 3 + 1], 60);
  EXPECT_EQ(result.row(100)[100 * 3], 128);
  EXPECT_EQ(result.row(100)[200 * 3], 128);
}

TEST(Annotate, OddValuesAreNotFatal) {
  Image image = background(60, 90);
  double infinite = std::numeric_limits<double>::infinity(), none = std::numeric_limits<double>::quiet_NaN();
  Annotation odd;
  odd.box_xyxy = {none, 0, 5, infinite};
  odd.label = "\xFF\xFE not text " + std::string(5000, 'w');
  Annotation huge;
  huge.box_xyxy = {1e300, -1e300, -1e300, 1e300};
  Annotation line;
  line.polygon = {{none, 1}, {1e30, 5}, {3, 3}};
  EXPECT_NO_THROW(annotate(image, {odd, huge, line}));
  EXPECT_EQ(annotate(image, {}).pixels, image.pixels);
}

TEST(Caption, WrapsAndKeepsLines) {
  Image image = background(50, 200);
  int64_t one = with_caption(image, "short").height, two = with_caption(image, "short\nshort").height;
  EXPECT_GT(two, one);
  EXPECT_GT(with_caption(image, std::string(400, 'm')).height, two);
  EXPECT_LE(with_caption(image,
                         [] {
                           std::string text;
                           for (int i = 0; i < 20000; ++i) text += "word ";
                           return text;
                         }())
                .height,
            32767);
}

}  // namespace
}  // namespace vlm
