// Against what Pillow, torch and torchvision computed; tools/reference/media.py wrote the cases.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/parallel.h"
#include "media/image.h"
#include "media/test_pictures.h"

namespace vlm {
namespace {

Filter filter_named(const std::string& name) {
  static const std::vector<std::string> names = {"nearest", "box",     "bilinear",
                                                 "hamming", "bicubic", "lanczos"};
  return static_cast<Filter>(std::find(names.begin(), names.end(), name) - names.begin());
}

struct Case {
  explicit Case(const Json& json)
      : height(json.at("from")[0].as<int64_t>()),
        width(json.at("from")[1].as<int64_t>()),
        new_height(json.at("to")[0].as<int64_t>()),
        new_width(json.at("to")[1].as<int64_t>()),
        filter_name(json.at("filter").as<std::string>()),
        filter(filter_named(filter_name)) {}
  std::string text() const {
    return fmt::format("{} x {} to {} x {}, {}", width, height, new_width, new_height, filter_name);
  }
  int64_t height, width, new_height, new_width;
  std::string filter_name;
  Filter filter;
};

TEST(Resize, PillowBitForBit) {
  Json cases = Json::read_file(test_folder() / "cases.json").at("pillow");
  ASSERT_GE(cases.size(), 100);
  for (int64_t i = 0; i < cases.size(); ++i) {
    Case c(cases[i]);
    Image result = resize_pillow(pattern(c.height, c.width), c.new_height, c.new_width, c.filter);
    EXPECT_EQ(result.height, c.new_height);
    EXPECT_EQ(result.width, c.new_width);
    EXPECT_EQ(crc32(result), cases[i].at("crc32").as<int64_t>()) << c.text();
  }
}

TEST(Resize, TorchFloatsWithinTolerance) {
  Json cases = Json::read_file(test_folder() / "cases.json").at("torch");
  std::string samples = read_text(test_folder() / "torch.bin");
  size_t at = 0;
  ASSERT_GE(cases.size(), 60);
  for (int64_t i = 0; i < cases.size(); ++i) {
    Case c(cases[i]);
    bool antialias = cases[i].at("antialias").as<bool>();
    FloatImage result =
        resize_torch(to_float(pattern(c.height, c.width)), c.new_height, c.new_width, c.filter, antialias);
    ASSERT_EQ(result.values.size(), static_cast<size_t>(3 * c.new_height * c.new_width));
    int64_t stride = cases[i].at("stride").as<int64_t>(), count = cases[i].at("samples").as<int64_t>();
    double worst = 0;
    for (int64_t k = 0; k < count; ++k, at += 4) {
      ASSERT_LE(at + 4, samples.size());
      float expected;
      std::memcpy(&expected, samples.data() + at, 4);
      worst = std::max<double>(worst, std::abs(expected - result.values[k * stride]));
    }
    // Four float roundings at 255; taps beyond the border are summed in another order here.
    EXPECT_LE(worst, 1.25e-4) << c.text() << (antialias ? ", antialias" : "");
  }
  EXPECT_EQ(at, samples.size());
}

TEST(Resize, TorchvisionBytesBitForBit) {
  Json cases = Json::read_file(test_folder() / "cases.json").at("torch");
  for (int64_t i = 0; i < cases.size(); ++i) {
    Case c(cases[i]);
    bool antialias = cases[i].at("antialias").as<bool>();
    Image result = resize_torch(pattern(c.height, c.width), c.new_height, c.new_width, c.filter, antialias);
    EXPECT_EQ(crc32(result), cases[i].at("bytes_crc32").as<int64_t>())
        << c.text() << (antialias ? ", antialias" : "");
  }
}

// Against the whole result, cropped, and against a padded copy: all filters, both orders of the passes, sides
// that keep their size, one pixel.
TEST(Resize, WindowsAndGroundsAreCropsAndPaddings) {
  struct Sizes {
    int64_t height, width, new_height, new_width;
  };
  for (Filter filter :
       {Filter::nearest, Filter::box, Filter::bilinear, Filter::hamming, Filter::bicubic, Filter::lanczos})
    for (const Sizes& sizes : std::vector<Sizes>{{61, 83, 30, 41},
                                                 {200, 31, 20, 33},
                                                 {40, 57, 40, 23},
                                                 {57, 40, 23, 40},
                                                 {33, 47, 33, 47},
                                                 {7, 9, 40, 50},
                                                 {1, 1, 5, 3},
                                                 {90, 1, 4, 7}}) {
      const Image image = pattern(sizes.height, sizes.width);
      const int64_t height = sizes.new_height, width = sizes.new_width;
      const Window window{height / 3, width / 4, height - height / 3 - height / 5,
                          width - width / 4 - width / 5};
      EXPECT_EQ(
          resize_pillow(image, height, width, filter, {image.height, image.width, 0, 0, {}}, window).pixels,
          crop(resize_pillow(image, height, width, filter), window.top, window.left, window.height,
               window.width)
              .pixels);
      for (const Ground& ground : std::vector<Ground>{{image.height + 9, image.width, 4, 0, {1, 2, 3}},
                                                      {image.height, image.width + 11, 0, 5, {200, 100, 0}},
                                                      {image.height + 3, image.width + 1, 3, 0, {9, 9, 9}}}) {
        const Image padded = pad(image, ground.height, ground.width, ground.top, ground.left, ground.fill);
        EXPECT_EQ(resize_pillow(image, height, width, filter, ground, window).pixels,
                  crop(resize_pillow(padded, height, width, filter), window.top, window.left, window.height,
                       window.width)
                      .pixels)
            << sizes.height << " x " << sizes.width << ", ground " << ground.height << " x " << ground.width;
      }
    }
}

TEST(Resize, SameWithAnyNumberOfThreads) {
  Image image = pattern(333, 517);
  int threads = num_threads();
  Image several = resize_pillow(image, 448, 336, Filter::bicubic);
  set_num_threads(1);
  EXPECT_EQ(resize_pillow(image, 448, 336, Filter::bicubic).pixels, several.pixels);
  set_num_threads(threads);
}

TEST(Resize, RefusesEmptySizes) {
  EXPECT_THROW(resize_pillow(pattern(3, 3), 0, 5, Filter::bicubic), Error);
  EXPECT_THROW(resize_torch(pattern(3, 3), 5, 5, Filter::hamming, true), Error);
}

}  // namespace
}  // namespace vlm
