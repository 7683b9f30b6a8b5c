#include "train/data/effects.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace vlm::data {
namespace {

uint8_t to_byte(double value) {
  return static_cast<uint8_t>(std::clamp(value + 0.5, 0.0, 255.0));
}

constexpr std::array<int, 64> luma_steps = {
    16, 11,  10,  16, 24, 40, 51, 61, 12,  12,  14,  19,  26, 58, 60, 55,  14,  13,  16,  24, 40, 57,
    69, 56,  14,  17, 22, 29, 51, 87, 80,  62,  18,  22,  37, 56, 68, 109, 103, 77,  24,  35, 55, 64,
    81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98,  112, 100, 103, 99};

constexpr std::array<int, 64> chroma_steps = {17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
                                              24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
                                              99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
                                              99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99};

using Block = std::array<float, 64>;

const Block& cosines() {  // [frequency, position], orthonormal
  static const Block table = [] {
    Block result{};
    for (size_t k = 0; k < 8; ++k) {
      for (size_t n = 0; n < 8; ++n) {
        double angle = std::numbers::pi / 8 * (static_cast<double>(n) + 0.5) * static_cast<double>(k);
        result[k * 8 + n] = static_cast<float>((k == 0 ? std::sqrt(0.125) : 0.5) * std::cos(angle));
      }
    }
    return result;
  }();
  return table;
}

// Transforms the rows and exchanges them with the columns, so that two calls transform both axes.
Block transform(const Block& values, bool inverse) {
  static const Block forward = [] {
    Block result{};
    for (size_t i = 0; i < 64; ++i) result[i % 8 * 8 + i / 8] = cosines()[i];
    return result;
  }();
  const Block& table = inverse ? cosines() : forward;  // [from, to]
  Block result{};
  for (size_t row = 0; row < 8; ++row) {
    std::array<float, 8> sums{};
    for (size_t from = 0; from < 8; ++from) {
      for (size_t to = 0; to < 8; ++to) sums[to] += values[row * 8 + from] * table[from * 8 + to];
    }
    for (size_t to = 0; to < 8; ++to) result[to * 8 + row] = sums[to];
  }
  return result;
}

void compress_plane(std::vector<float>& plane, int64_t height, int64_t width, const Block& steps) {
  for (int64_t top = 0; top < height; top += 8) {
    for (int64_t left = 0; left < width; left += 8) {
      auto pixel = [&](int64_t i) -> float& {  // beyond the edge the last one is repeated
        int64_t y = std::min(top + i / 8, height - 1), x = std::min(left + i % 8, width - 1);
        return plane[static_cast<size_t>(y * width + x)];
      };
      Block block{};
      for (int64_t i = 0; i < 64; ++i) block[static_cast<size_t>(i)] = pixel(i);
      block = transform(transform(block, false), false);
      for (size_t i = 0; i < 64; ++i) block[i] = std::nearbyintf(block[i] / steps[i]) * steps[i];
      block = transform(transform(block, true), true);
      for (int64_t i = 0; i < 64; ++i) {
        if (top + i / 8 < height && left + i % 8 < width) pixel(i) = block[static_cast<size_t>(i)];
      }
    }
  }
}

Block scaled(const std::array<int, 64>& steps, int64_t quality) {
  double scale =
      quality < 50 ? 5000.0 / static_cast<double>(quality) : 200.0 - 2.0 * static_cast<double>(quality);
  Block result{};
  for (size_t i = 0; i < 64; ++i) {
    result[i] = static_cast<float>(std::clamp(std::floor((steps[i] * scale + 50) / 100), 1.0, 255.0));
  }
  return result;
}

}  // namespace

Image shrink(const Image& image, int64_t factor, bool take_first) {
  Image result{image.height / factor, image.width / factor, {}};
  result.pixels.resize(static_cast<size_t>(result.height * result.width * 3));
  int64_t area = factor * factor;
  for (int64_t y = 0; y < result.height; ++y) {
    for (int64_t x = 0; x < result.width * 3; ++x) {
      int64_t left = x / 3 * factor * 3 + x % 3, sum = 0;
      if (take_first) {
        sum = image.row(y * factor)[left] * area;
      } else {
        for (int64_t i = 0; i < area; ++i) sum += image.row(y * factor + i / factor)[left + i % factor * 3];
      }
      result.row(y)[x] = static_cast<uint8_t>((sum + area / 2) / area);
    }
  }
  return result;
}

void blur(Image& image, double amount) {
  Image source = image;
  for (int64_t y = 0; y < image.height; ++y) {
    const uint8_t* above = source.row(std::max<int64_t>(y - 1, 0));
    const uint8_t* here = source.row(y);
    const uint8_t* below = source.row(std::min(y + 1, image.height - 1));
    for (int64_t x = 0; x < image.width; ++x) {
      int64_t before = std::max<int64_t>(x - 1, 0) * 3, after = std::min(x + 1, image.width - 1) * 3;
      for (int64_t c = 0; c < 3; ++c) {
        int sum = 0;
        for (const uint8_t* row : {above, here, below})
          sum += row[before + c] + row[x * 3 + c] + row[after + c];
        image.row(y)[x * 3 + c] = to_byte(here[x * 3 + c] * (1 - amount) + sum / 9.0 * amount);
      }
    }
  }
}

void adjust(Image& image, double brightness, double contrast) {
  std::array<uint8_t, 256> table{};
  for (size_t i = 0; i < 256; ++i) {
    table[i] = to_byte(((static_cast<double>(i) - 127.5) * contrast + 127.5) * brightness);
  }
  for (uint8_t& value : image.pixels) value = table[value];
}

void add_grain(Image& image, double deviation, Rng& rng) {
  for (uint8_t& value : image.pixels) {
    uint64_t bits = rng.next();  // the sum of four uniform values: close enough to normal
    int64_t sum = 0;
    for (int shift = 0; shift < 64; shift += 16) sum += static_cast<int64_t>(bits >> shift & 0xFFFF);
    double normal = (static_cast<double>(sum) / 65536 - 2) * std::numbers::sqrt3;
    value = to_byte(value + deviation * normal);
  }
}

void jpeg_artefacts(Image& image, int64_t quality) {
  size_t count = static_cast<size_t>(image.height * image.width);
  std::array<std::vector<float>, 3> planes;
  for (auto& plane : planes) plane.resize(count);
  for (size_t i = 0; i < count; ++i) {
    float r = image.pixels[i * 3], g = image.pixels[i * 3 + 1], b = image.pixels[i * 3 + 2];
    planes[0][i] = 0.299F * r + 0.587F * g + 0.114F * b - 128;
    planes[1][i] = -0.168736F * r - 0.331264F * g + 0.5F * b;
    planes[2][i] = 0.5F * r - 0.418688F * g - 0.081312F * b;
  }
  compress_plane(planes[0], image.height, image.width, scaled(luma_steps, quality));
  Block chroma = scaled(chroma_steps, quality);
  compress_plane(planes[1], image.height, image.width, chroma);
  compress_plane(planes[2], image.height, image.width, chroma);
  for (size_t i = 0; i < count; ++i) {
    float y = planes[0][i] + 128, cb = planes[1][i], cr = planes[2][i];
    image.pixels[i * 3] = to_byte(y + 1.402F * cr);
    image.pixels[i * 3 + 1] = to_byte(y - 0.344136F * cb - 0.714136F * cr);
    image.pixels[i * 3 + 2] = to_byte(y + 1.772F * cb);
  }
}

}  // namespace vlm::data
