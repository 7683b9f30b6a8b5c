// Against the pixels that Pillow reads from the same files; tools/reference/media.py wrote them.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "media/decode.h"
#include "media/draw.h"
#include "media/image.h"
#include "media/test_pictures.h"

namespace vlm {
namespace {

Image decode(const std::string& data, const std::string& name, const DecodeLimits& limits = {}) {
  return decode_image(std::as_bytes(std::span(data)), name, limits);
}

std::string message_of(const std::function<void()>& action, ErrorKind kind = ErrorKind::bad_request) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_FALSE(error.hint().empty());
    return error.message();
  }
  return "no error";
}

TEST(Decode, AsPillowReadsThem) {
  Json cases = Json::read_file(test_folder() / "cases.json").at("decode");
  ASSERT_GE(cases.size(), 50);
  for (int64_t i = 0; i < cases.size(); ++i) {
    std::string name = cases[i].at("file").as<std::string>();
    Image image;
    try {
      image = read_image(test_folder() / name);
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
      continue;
    }
    EXPECT_EQ(image.height, cases[i].at("height").as<int64_t>()) << name;
    EXPECT_EQ(image.width, cases[i].at("width").as<int64_t>()) << name;
    EXPECT_EQ(crc32(image), cases[i].at("crc32").as<int64_t>()) << name;
  }
}

void expect_parts(const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    EXPECT_NE(message.find(part), std::string::npos) << message << " lacks " << part;
}

TEST(Decode, EveryOrientation) {
  const Image image = pattern(45, 70);
  // What stands in the stored picture where the upright one has (y, x), as EXIF defines orientations.
  auto stored = [&](int orientation, int64_t y, int64_t x) {
    const int64_t bottom = image.height - 1, right = image.width - 1;
    switch (orientation) {
      case 2:
        return image.row(y) + (right - x) * 3;
      case 3:
        return image.row(bottom - y) + (right - x) * 3;
      case 4:
        return image.row(bottom - y) + x * 3;
      case 5:
        return image.row(x) + y * 3;
      case 6:
        return image.row(bottom - x) + y * 3;
      case 7:
        return image.row(bottom - x) + (right - y) * 3;
      case 8:
        return image.row(x) + (right - y) * 3;
      default:
        return image.row(y) + x * 3;
    }
  };
  for (int orientation = 0; orientation <= 9; ++orientation) {
    const Image result = upright(image, orientation);
    const bool is_turned = orientation >= 5 && orientation <= 8;
    ASSERT_EQ(result.height, is_turned ? image.width : image.height);
    for (int64_t y = 0; y < result.height; ++y)
      for (int64_t x = 0; x < result.width; ++x)
        for (int64_t c = 0; c < 3; ++c)
          ASSERT_EQ(result.row(y)[x * 3 + c], stored(orientation, y, x)[c])
              << orientation << " at " << y << ", " << x;
  }
}

TEST(Decode, RefusesWhatIsNoPicture) {
  expect_parts(message_of([] { decode("", "a.png"); }), {"a.png", "empty", "0 bytes"});
  expect_parts(message_of([] { decode("hello, world\n", "text.png"); }),
               {"text.png", "not a picture", "13 bytes", "68 65 6c 6c"});
  expect_parts(
      message_of([] { decode("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "a.svg"); }),
      {"a.svg", "not a picture"});
  expect_parts(message_of([] { decode("%PDF-1.4\n", "a.pdf"); }), {"not a picture"});
  expect_parts(message_of([] { read_image(test_folder()); }), {test_folder().string(), "folder"});
  expect_parts(message_of([] { read_image(test_folder() / "missing.png"); }, ErrorKind::not_found),
               {"missing.png", "no such file"});
}

TEST(Decode, SaysThatAFileIsTruncated) {
  for (const char* name :
       {"rgb_444.jpg", "rgb_420_progressive.jpg", "cmyk.jpg", "rgb.png", "palette.png", "rgb16.png",
        "lossless.webp", "lossy.webp", "palette.bmp", "rgb_lzw.tif", "rgb.ppm", "rgb.avif"}) {
    std::string whole = read_text(test_folder() / name);
    for (double part : {0.1, 0.5, 0.8}) {
      std::string cut = whole.substr(0, std::max<size_t>(20, static_cast<size_t>(part * whole.size())));
      expect_parts(message_of([&] { decode(cut, name); }), {name, "damaged or truncated"});
    }
  }
}

TEST(Decode, ChecksSizesBeforeDecoding) {
  // A whole PNG header that claims 30000 x 30000 pixels, and nothing behind it.
  std::string header = std::string("IHDR") + std::string("\0\0\x75\x30\0\0\x75\x30\x08\x02\0\0\0", 13);
  auto bytes = [](int64_t value) {
    std::string text;
    for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift);
    return text;
  };
  auto sum = crc32(std::span(reinterpret_cast<const uint8_t*>(header.data()), header.size()));
  std::string huge =
      "\x89PNG\r\n\x1a\n" + bytes(13) + header + bytes(sum) + bytes(0) + "IDAT" + bytes(0x35af061e);
  expect_parts(message_of([&] { decode(huge, "huge.png"); }),
               {"huge.png", "30000 x 30000", "900000000", "209715200"});
  std::string png = read_text(test_folder() / "rgb.png");
  expect_parts(message_of([&] { decode(png, "a", {.max_pixels = 1000}); }), {"43 x 29", "1247", "1000"});
  expect_parts(message_of([&] { decode(png, "a", {.max_side = 42}); }), {"43 x 29", "longest side", "42"});
  expect_parts(message_of([&] { decode(png, "a", {.max_bytes = 10}); }), {"647 bytes", "10"});
  std::string bmp = read_text(test_folder() / "rgb.bmp");
  expect_parts(message_of([&] { decode(bmp, "a", {.max_pixels = 1000}); }), {"43 x 29", "1247", "1000"});
  expect_parts(message_of([&] { read_image(test_folder() / "rgb.bmp", {.max_bytes = 10}); }),
               {"3882 bytes", "10"});
}

TEST(Decode, ThreadsDoNotMixMessages) {
  std::string whole = read_text(test_folder() / "rgb_444.jpg"), jpeg = whole.substr(0, whole.size() / 2);
  std::string png = read_text(test_folder() / "rgb.png");
  png.resize(png.size() / 2);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        decode(whole, "whole.jpg");
        std::string message = message_of([&] { decode(t % 2 ? jpeg : png, t % 2 ? "cut.jpg" : "cut.png"); });
        wrong += message.find(t % 2 ? "JPEG" : "PNG") == std::string::npos ||
                 message.find(t % 2 ? "png" : "Jpeg") != std::string::npos;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Encode, PngKeepsPixelsAndJpegNearlyDoes) {
  auto folder = std::filesystem::temp_directory_path() / "vlm_media_test";
  std::filesystem::create_directories(folder);
  Image image = pattern(61, 47);
  write_png(folder / "a.png", image);
  EXPECT_EQ(read_image(folder / "a.png").pixels, image.pixels);
  Image smooth = resize_pillow(image, 200, 150, Filter::bicubic);
  write_jpeg(folder / "a.jpg", smooth, 95);
  Image back = read_image(folder / "a.jpg");
  ASSERT_EQ(back.pixels.size(), smooth.pixels.size());
  double total = 0;
  for (size_t i = 0; i < back.pixels.size(); ++i) total += std::abs(back.pixels[i] - smooth.pixels[i]);
  EXPECT_LT(total / static_cast<double>(back.pixels.size()), 6);
  EXPECT_THROW(write_png(folder / "no/such/folder/a.png", image), Error);
  std::filesystem::remove_all(folder);
}

TEST(Svg, FillsTheSizeOnTheBackground) {
  std::string drawing =
      "<svg xmlns='http://www.w3.org/2000/svg' width='20' height='10'>"
      "<rect x='0' y='0' width='10' height='10' fill='#ff0000'/></svg>";
  Image image = render_svg(std::as_bytes(std::span(drawing)), 40, 120, {0, 0, 1});
  EXPECT_EQ(image.height, 40);
  EXPECT_EQ(image.width, 120);
  EXPECT_EQ(image.row(20)[30 * 3], 255);
  EXPECT_EQ(image.row(20)[30 * 3 + 2], 0);
  EXPECT_EQ(image.row(20)[90 * 3], 0);
  EXPECT_EQ(image.row(20)[90 * 3 + 2], 255);
  std::string broken = "<svg";
  expect_parts(message_of([&] { render_svg(std::as_bytes(std::span(broken)), 4, 4, {}); }),
               {"SVG", "cannot be rendered"});
}

}  // namespace
}  // namespace vlm
