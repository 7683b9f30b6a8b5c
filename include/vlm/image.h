// A picture in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "vlm/abi.h"

namespace vlm::v0 {

// Cheap to copy: copies share pixels, which never change. Any thread may use it.
class Image {
 public:
  // JPEG, PNG, WebP, GIF (first frame), TIFF, BMP, AVIF, HEIC, PPM; EXIF rotation is applied. Throws Error:
  // not_found, bad_request for what is no picture, is damaged or too large.
  static Image from_file(const std::string& path);
  // The bytes of such a file. `name` is how messages call it.
  static Image from_memory(const void* data, std::size_t size, const std::string& name = "picture");
  // 8-bit RGB, rows from top to bottom, `row_bytes` apart (0: width * 3). Copied.
  static Image from_pixels(const std::uint8_t* rgb, std::int64_t height, std::int64_t width,
                           std::int64_t row_bytes = 0);

  std::int64_t height() const;
  std::int64_t width() const;
  const std::uint8_t* pixels() const;  // 8-bit RGB, rows without gaps; lives as long as any copy

 private:
  friend struct Access;
  struct Data;
  explicit Image(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

}  // namespace vlm::v0
