#include "media/image.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace vlm {

Image Image::of_size(int64_t height, int64_t width) {
  return {height, width, Pixels(static_cast<size_t>(height * width * 3))};
}

Image Image::filled(int64_t height, int64_t width, std::array<uint8_t, 3> rgb) {
  VLM_CHECK(height > 0 && width > 0, "picture of {} x {} pixels", width, height);
  Image image = of_size(height, width);
  if (rgb[0] == rgb[1] && rgb[1] == rgb[2]) {
    std::fill(image.pixels.begin(), image.pixels.end(), rgb[0]);
    return image;
  }
  for (size_t at = 0; at < image.pixels.size(); at += 3) std::copy(rgb.begin(), rgb.end(), &image.pixels[at]);
  return image;
}

Image crop(const Image& image, int64_t top, int64_t left, int64_t height, int64_t width,
           std::array<uint8_t, 3> fill) {
  return pad(image, height, width, -top, -left, fill);
}

Image pad(const Image& image, int64_t height, int64_t width, int64_t top, int64_t left,
          std::array<uint8_t, 3> fill) {
  Image result = Image::filled(height, width, fill);
  int64_t first_row = std::max<int64_t>(0, top), end_row = std::min(height, top + image.height);
  int64_t first_column = std::max<int64_t>(0, left), end_column = std::min(width, left + image.width);
  if (first_column >= end_column) return result;
  for (int64_t y = first_row; y < end_row; ++y) {
    std::memcpy(result.row(y) + first_column * 3, image.row(y - top) + (first_column - left) * 3,
                static_cast<size_t>((end_column - first_column) * 3));
  }
  return result;
}

FloatImage to_float(const Image& image) {
  int64_t plane = image.height * image.width;
  FloatImage result{3, image.height, image.width, std::vector<float>(static_cast<size_t>(plane * 3))};
  for (int64_t i = 0; i < plane; ++i) {
    for (int64_t c = 0; c < 3; ++c) result.values[c * plane + i] = image.pixels[i * 3 + c];
  }
  return result;
}

}  // namespace vlm
