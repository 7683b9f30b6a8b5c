// Windows bitmaps. ref: Microsoft, "Bitmap Storage" (BITMAPFILEHEADER, BITMAPINFOHEADER, BITMAPV5HEADER).
#include <array>
#include <cstdlib>

#include "base/error.h"
#include "media/decode.h"

namespace vlm {
namespace {

constexpr uint32_t uncompressed = 0, bit_fields = 3, alpha_bit_fields = 6;

class Reader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  uint32_t number(size_t at, int size) const {  // little endian
    if (at + static_cast<size_t>(size) > bytes_.size()) {
      fail_damaged(name_, "BMP", fmt::format("it ends at byte {}, inside its header", bytes_.size()));
    }
    uint32_t value = 0;
    for (int i = 0; i < size; ++i) value |= std::to_integer<uint32_t>(bytes_[at + i]) << (8 * i);
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& name_;
};

}  // namespace

Image decode_bmp(std::span<const std::byte> bytes, const std::string& name, const DecodeLimits& limits) {
  const Reader read(bytes, name);
  const size_t data_at = read.number(10, 4), header_size = read.number(14, 4);
  if (header_size < 40 || header_size > 124) {
    fail(ErrorKind::bad_request, "save it as PNG",
         "{}: a BMP header of {} bytes is not known (40 to 124 are)", name, header_size);
  }
  const int64_t width = static_cast<int32_t>(read.number(18, 4));
  const int64_t signed_height = static_cast<int32_t>(read.number(22, 4));
  const int64_t height = std::abs(signed_height);  // negative: rows from top to bottom
  const uint32_t depth = read.number(28, 2), compression = read.number(30, 4);
  check_picture_size(height, width, name, limits);
  const bool masked = depth == 32 && (compression == bit_fields || compression == alpha_bit_fields);
  const bool known_depth = depth == 1 || depth == 4 || depth == 8 || depth == 24 || depth == 32;
  if (!known_depth || (compression != uncompressed && !masked)) {
    fail(ErrorKind::bad_request, "save it as PNG",
         "{}: a BMP of {} bits per pixel with compression {} is not read", name, depth, compression);
  }
  std::array<uint32_t, 3> shift = {16, 8, 0};
  if (masked) {
    for (size_t c = 0; c < 3; ++c) {
      const uint32_t mask = read.number(54 + 4 * c, 4);
      shift[c] = 0;
      while (shift[c] < 24 && mask != uint32_t{0xFF} << shift[c]) shift[c] += 8;
      if (mask != uint32_t{0xFF} << shift[c]) {
        fail(ErrorKind::bad_request, "save it as PNG", "{}: a BMP with the colour mask {:08x} is not read",
             name, mask);
      }
    }
  }
  std::array<uint32_t, 256> palette{};
  if (depth <= 8) {
    const uint32_t entries = std::min(read.number(46, 4) ? read.number(46, 4) : 1u << depth, 1u << depth);
    for (uint32_t i = 0; i < entries; ++i) palette[i] = read.number(14 + header_size + 4 * size_t{i}, 4);
  }
  const int64_t stride = (width * depth + 31) / 32 * 4;
  if (data_at > bytes.size() || static_cast<int64_t>(bytes.size() - data_at) < stride * height) {
    fail_damaged(name, "BMP",
                 fmt::format("{} x {} pixels need {} bytes from byte {}, the file has {}", width, height,
                             stride * height, data_at, bytes.size()));
  }
  Image image = Image::of_size(height, width);
  for (int64_t y = 0; y < height; ++y) {
    const std::byte* row = bytes.data() + data_at + (signed_height < 0 ? y : height - 1 - y) * stride;
    uint8_t* target = image.row(y);
    for (int64_t x = 0; x < width; ++x, target += 3) {
      uint32_t value = 0;
      if (depth >= 24) {
        for (uint32_t i = 0; i < depth / 8; ++i) {
          value |= std::to_integer<uint32_t>(row[x * (depth / 8) + i]) << (8 * i);
        }
      } else {
        const int64_t bit = x * depth;
        const uint32_t byte = std::to_integer<uint32_t>(row[bit / 8]);
        value = palette[(byte >> (8 - depth - bit % 8)) & ((1u << depth) - 1)];
      }
      for (size_t c = 0; c < 3; ++c) target[c] = static_cast<uint8_t>(value >> shift[c]);
    }
  }
  return image;
}

}  // namespace vlm
