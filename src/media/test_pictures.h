// What the tests of media/ share with tools/reference/media.py.
#pragma once

#include <array>
#include <filesystem>

#include "media/image.h"

namespace vlm {

inline std::filesystem::path test_folder() {
  return std::filesystem::path(VLM_SOURCE_DIR) / "tests/cases/media";
}

// Smooth ramps with hard edges and noise, in unsigned 32-bit arithmetic.
inline Image pattern(int64_t height, int64_t width) {
  Image image = Image::filled(height, width, {0, 0, 0});
  uint8_t* target = image.pixels.data();
  for (uint32_t y = 0; y < height; ++y) {
    for (uint32_t x = 0; x < width; ++x) {
      for (uint32_t c = 0; c < 3; ++c) {
        uint32_t noise = (y * 2654435761u ^ x * 2246822519u ^ c * 3266489917u) >> 24;
        uint32_t ramp = (x * 3 + y * 5 + c * 85) & 255, edge = ((x >> 4) + (y >> 3) + c) & 1;
        *target++ = static_cast<uint8_t>(noise < 64 ? noise * 4 : edge ? ramp : 255 - ramp);
      }
    }
  }
  return image;
}

inline int64_t crc32(std::span<const uint8_t> bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> entries{};
    for (uint32_t i = 0; i < 256; ++i) {
      entries[i] = i;
      for (int bit = 0; bit < 8; ++bit) entries[i] = entries[i] >> 1 ^ (entries[i] & 1 ? 0xEDB88320u : 0);
    }
    return entries;
  }();
  uint32_t value = 0xFFFFFFFFu;
  for (uint8_t byte : bytes) value = value >> 8 ^ table[(value ^ byte) & 255];
  return value ^ 0xFFFFFFFFu;
}

inline int64_t crc32(const Image& image) {
  return crc32(image.pixels);
}

}  // namespace vlm
