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
