// Bytes of strangers to pixels: which format, how large, then libvips, then Pillow's conversion to RGB.
#include "media/decode.h"

#include <vips/vips.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "media/jpeg.h"

namespace vlm {
namespace {

using Bytes = std::span<const std::byte>;

enum class Format { unknown, jpeg, png, webp, gif, tiff, heif, pnm, bmp };

constexpr const char* known_formats = "JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC or PPM";

bool has(Bytes bytes, size_t at, std::string_view text) {
  return bytes.size() >= at + text.size() && std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

// By content alone, so that only these loaders ever see the bytes: libvips itself would also try SVG, PDF and
// ImageMagick, which are not meant for strangers' files.
Format find_format(Bytes bytes) {
  if (has(bytes, 0, "\xFF\xD8\xFF")) return Format::jpeg;
  if (has(bytes, 0, "\x89PNG\r\n\x1A\n")) return Format::png;
  if (has(bytes, 0, "RIFF") && has(bytes, 8, "WEBP")) return Format::webp;
  if (has(bytes, 0, "GIF87a") || has(bytes, 0, "GIF89a")) return Format::gif;
  if (has(bytes, 0, {"II*\0", 4}) || has(bytes, 0, {"MM\0*", 4})) return Format::tiff;
  if (has(bytes, 4, "ftyp")) {
    for (const char* brand : {"avif", "avis", "heic", "heix", "hevc", "heim", "heis", "mif1", "msf1"}) {
      if (has(bytes, 8, brand)) return Format::heif;
    }
  }
  if (bytes.size() > 2 && has(bytes, 0, "P")) {
    const char kind = static_cast<char>(bytes[1]), next = static_cast<char>(bytes[2]);
    if (kind >= '1' && kind <= '6' && (next == ' ' || next == '\n' || next == '\r' || next == '\t')) {
      return Format::pnm;
    }
  }
  if (has(bytes, 0, "BM")) return Format::bmp;
  return Format::unknown;
}

const char* format_name(Format format) {
  switch (format) {
    case Format::jpeg:
      return "JPEG";
    case Format::png:
      return "PNG";
    case Format::webp:
      return "WebP";
    case Format::gif:
      return "GIF";
    case Format::tiff:
      return "TIFF";
    case Format::heif:
      return "HEIC";
    case Format::pnm:
      return "PPM";
    case Format::bmp:
      return "BMP";
    case Format::unknown:
      break;
  }
  return "unknown";
}

struct Unref {
  void operator()(VipsImage* image) const { g_object_unref(image); }
};
using VipsPointer = std::unique_ptr<VipsImage, Unref>;
struct UnrefRegion {
  void operator()(VipsRegion* region) const { g_object_unref(region); }
};

// The GIF without its first frame's transparency, so that see-through pixels keep the palette's colour as in
// Pillow's conversion; libvips would make them black.
std::vector<std::byte> opaque_gif(Bytes bytes) {
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  auto at = [&](size_t i) { return i < copy.size() ? std::to_integer<size_t>(copy[i]) : 0; };
  size_t place =
      13 + (at(10) & 0x80 ? size_t{3} << ((at(10) & 7) + 1) : 0);  // behind the header and its palette
  while (at(place) == 0x21) {                                      // extensions before the frame
    if (at(place + 1) == 0xF9 && at(place + 2) == 4 && place + 3 < copy.size())
      copy[place + 3] &= std::byte{0xFE};
    place += 2;
    while (at(place) != 0) place += at(place) + 1;
    ++place;
  }
  return copy;
}

// The header is read here, pixels when they are asked for.
VipsPointer open_vips(Bytes bytes, Format format) {
  void* data = const_cast<std::byte*>(bytes.data());
  VipsImage* image = nullptr;
  auto load = [&](auto function) {
    return function(data, bytes.size(), &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                    VIPS_FAIL_ON_TRUNCATED, nullptr);
  };
  switch (format) {
    case Format::jpeg:
      load(vips_jpegload_buffer);
      break;
    case Format::png:
      load(vips_pngload_buffer);
      break;
    case Format::webp:
      load(vips_webpload_buffer);
      break;
    case Format::gif:
      load(vips_gifload_buffer);
      break;
    case Format::tiff:
      load(vips_tiffload_buffer);
      break;
    case Format::heif:
      load(vips_heifload_buffer);
      break;
    default: {
      VipsSource* source = vips_source_new_from_memory(data, bytes.size());
      if (!source) break;
      vips_ppmload_source(source, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_TRUNCATED,
                          nullptr);
      g_object_unref(source);
    }
  }
  return VipsPointer(image);
}

// Pillow's way from a wider sample to 8 bits: `shift` for samples of colour pictures, which it reads by their
// high byte, clipping for single channels, whose values it keeps.
template <typename T, bool shift>
uint8_t to_byte(T value) {
  if constexpr (std::is_same_v<T, uint8_t>) return value;
  if constexpr (shift) return static_cast<uint8_t>(value >> 8);
  return value > T(0) ? (value < T(255) ? static_cast<uint8_t>(value) : 255)
                      : 0;  // also what is not a number
}

// One row; bands beyond the third are dropped.
template <typename T, bool shift>
void to_rgb(const void* row, int bands, int64_t width, uint8_t* target) {
  const T* samples = static_cast<const T*>(row);
  const int step = bands >= 3 ? 1 : 0;
  for (int64_t x = 0; x < width; ++x, samples += bands, target += 3) {
    for (int c = 0; c < 3; ++c) target[c] = to_byte<T, shift>(samples[c * step]);
  }
}

void bytes_to_rgb(const void* row, int bands, int64_t width, uint8_t* target) {
  if (bands == 3) {
    std::memcpy(target, row, static_cast<size_t>(width * 3));
  } else if (bands == 4) {  // a loop of known steps becomes vector code
    to_rgb<uint8_t, false>(row, 4, width, target);
  } else {
    to_rgb<uint8_t, false>(row, bands, width, target);
  }
}

void cmyk_to_rgb(const void* row, int bands, int64_t width, uint8_t* target) {
  const auto* samples = static_cast<const uint8_t*>(row);
  for (int64_t x = 0; x < width; ++x, samples += bands, target += 3) {
    const int white = 255 - samples[3];
    for (int c = 0; c < 3; ++c) {
      const int product = samples[c] * white + 128;  // divided by 255 with rounding, as Pillow does it
      target[c] = static_cast<uint8_t>(std::clamp(white - ((product >> 8) + product) / 256, 0, 255));
    }
  }
}

using RowToRgb = void (*)(const void* row, int bands, int64_t width, uint8_t* target);

// Null for samples that no file holds.
RowToRgb row_to_rgb(const VipsImage* source) {
  switch (source->BandFmt) {
    case VIPS_FORMAT_UCHAR:
      return source->Type == VIPS_INTERPRETATION_CMYK && source->Bands >= 4 ? cmyk_to_rgb : bytes_to_rgb;
    case VIPS_FORMAT_USHORT:
      return source->Bands == 1 ? to_rgb<uint16_t, false> : to_rgb<uint16_t, true>;
    case VIPS_FORMAT_UINT:
      return to_rgb<uint32_t, false>;
    case VIPS_FORMAT_SHORT:
      return to_rgb<int16_t, false>;
    case VIPS_FORMAT_INT:
      return to_rgb<int32_t, false>;
    case VIPS_FORMAT_FLOAT:
      return to_rgb<float, false>;
    case VIPS_FORMAT_DOUBLE:
      return to_rgb<double, false>;
    default:
      return nullptr;
  }
}

[[noreturn]] void fail_too_long(const std::string& name, int64_t size, const DecodeLimits& limits) {
  fail(ErrorKind::bad_request, "scale the picture down or compress it",
       "{}: {} bytes, but at most {} are read", name, size, limits.max_bytes);
}

std::string first_bytes(Bytes bytes) {
  std::string text;
  for (std::byte byte : bytes.first(std::min<size_t>(bytes.size(), 8))) {
    text += fmt::format("{}{:02x}", text.empty() ? "" : " ", static_cast<int>(byte));
  }
  return text;
}

// Rows [begin, begin + strip.height) of a picture of `height` rows, to where they stand when its EXIF
// orientation, 2 to 8, is undone.
void place_upright(const Image& strip, int64_t begin, int64_t height, int orientation, Image& result) {
  // Orientations: 2 mirror, 3 half turn, 4 flip, 5 transpose, 6 turn right, 7 transverse, 8 turn left.
  const bool is_transposed = orientation >= 5;
  const bool is_mirrored = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool is_flipped = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  auto column = [&](int64_t x) { return is_mirrored ? strip.width - 1 - x : x; };
  auto row = [&](int64_t y) { return is_flipped ? height - 1 - begin - y : begin + y; };
  if (!is_transposed) {
    for (int64_t y = 0; y < strip.height; ++y) {
      const uint8_t* source = strip.row(y);
      for (int64_t x = 0; x < strip.width; ++x, source += 3)
        std::memcpy(result.row(row(y)) + column(x) * 3, source, 3);
    }
    return;
  }
  // Blocks that lie in the nearest cache on both sides, each run of the result from left to right. Pixels
  // move as four bytes; the fourth is overwritten by the next pixel's first.
  constexpr int64_t side = 32;
  const int64_t step = (is_flipped ? -3 : 3) * strip.width;
  for (int64_t top = 0; top < strip.height; top += side) {
    const int64_t count = std::min(side, strip.height - top), bottom = top + count - 1;
    for (int64_t left = 0; left < strip.width; left += side) {
      for (int64_t x = left; x < std::min(left + side, strip.width); ++x) {
        const uint8_t* source = strip.row(is_flipped ? bottom : top) + x * 3;
        uint8_t* target = result.row(column(x)) + row(is_flipped ? bottom : top) * 3;
        const int64_t wide = x + 1 < strip.width ? count - 1 : 0;
        int64_t at = 0;
        for (; at < wide; ++at, source += step, target += 3) std::memcpy(target, source, 4);
        for (; at < count; ++at, source += step, target += 3) std::memcpy(target, source, 3);
      }
    }
  }
}

// Rows from top to bottom as RGB, through libvips or, where it is faster, through libjpeg. read() is false
// when there was an error, which is then in libvips' buffer.
class RgbRows {
 public:
  RgbRows(VipsImage* source, Bytes bytes, Format format) : source_(source), convert_(row_to_rgb(source)) {
    if (format == Format::jpeg && (source->Bands == 1 || source->Bands == 3) &&
        source->BandFmt == VIPS_FORMAT_UCHAR)
      jpeg_.emplace(bytes);
    else
      region_.reset(vips_region_new(source));
  }

  bool read(int64_t y, int64_t count, uint8_t* const* rows) {
    if (jpeg_) {
      if ((y == 0 && !jpeg_->begin(source_->Ysize, source_->Xsize)) || !jpeg_->read(rows, count)) {
        vips_error("jpeg", "%s", jpeg_->reason());
        return false;
      }
      return true;
    }
    if (!convert_) {
      vips_error("vlm", "samples of type %d", source_->BandFmt);
      return false;
    }
    const VipsRect place = {0, static_cast<int>(y), source_->Xsize, static_cast<int>(count)};
    if (!region_ || vips_region_prepare(region_.get(), &place) != 0) return false;
    for (int64_t r = 0; r < count; ++r)
      convert_(VIPS_REGION_ADDR(region_.get(), 0, place.top + static_cast<int>(r)), source_->Bands,
               source_->Xsize, rows[r]);
    return true;
  }

 private:
  VipsImage* source_;
  RowToRgb convert_;
  std::optional<JpegRows> jpeg_;
  std::unique_ptr<VipsRegion, UnrefRegion> region_;
};

// The picture as it stands upright, from strips of rows that stay in the cache; no whole copy lies between.
bool read_pixels(RgbRows rows, int64_t height, int64_t width, int orientation, Image& image) {
  constexpr int64_t strip_rows = 32;
  const bool is_upright = orientation < 2 || orientation > 8;
  const bool is_transposed = !is_upright && orientation >= 5;
  image = Image::of_size(is_transposed ? width : height, is_transposed ? height : width);
  Image strip{strip_rows, width, {}};
  if (!is_upright) strip.pixels.resize(static_cast<size_t>(strip_rows * width * 3));
  for (int64_t y = 0; y < height; y += strip_rows) {
    strip.height = std::min(strip_rows, height - y);
    std::array<uint8_t*, strip_rows> targets{};
    for (int64_t r = 0; r < strip.height; ++r) targets[r] = is_upright ? image.row(y + r) : strip.row(r);
    if (!rows.read(y, strip.height, targets.data())) return false;
    if (!is_upright) place_upright(strip, y, height, orientation, image);
  }
  return true;
}

Image decode_any(Bytes bytes, Format format, const std::string& name, const DecodeLimits& limits) {
  Image image;
  std::vector<std::byte> changed;
  if (format == Format::gif) bytes = changed = opaque_gif(bytes);
  with_vips(
      [&] {
        VipsPointer source = open_vips(bytes, format);
        if (!source) return false;
        check_picture_size(source->Ysize, source->Xsize, name, limits);
        // HEIC rotates as it decodes; its EXIF field is a leftover.
        const int orientation = format == Format::heif ? 1 : vips_image_get_orientation(source.get());
        return read_pixels(RgbRows(source.get(), bytes, format), source->Ysize, source->Xsize, orientation,
                           image);
      },
      [&](const std::string& reason) { fail_damaged(name, format_name(format), reason); });
  return image;
}

}  // namespace

void check_picture_size(int64_t height, int64_t width, const std::string& name, const DecodeLimits& limits) {
  if (height < 1 || width < 1)
    fail_damaged(name, "picture", fmt::format("its size is {} x {}", width, height));
  if (height > limits.max_side || width > limits.max_side) {
    fail(ErrorKind::bad_request, "scale the picture down",
         "{}: {} x {} pixels, but the longest side read is {}", name, width, height, limits.max_side);
  }
  if (height * width > limits.max_pixels) {
    fail(ErrorKind::bad_request, "scale the picture down",
         "{}: {} x {} is {} pixels, but at most {} are decoded", name, width, height, height * width,
         limits.max_pixels);
  }
}

void fail_damaged(const std::string& name, const std::string& format, const std::string& reason) {
  fail(ErrorKind::bad_request, "send the file again, whole; or open and save it with an image editor",
       "{}: the {} file is damaged or truncated ({})", name, format, reason);
}

Image upright(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool is_transposed = orientation >= 5;
  Image result =
      Image::of_size(is_transposed ? image.width : image.height, is_transposed ? image.height : image.width);
  place_upright(image, 0, image.height, orientation, result);
  return result;
}

Image decode_image(std::span<const std::byte> bytes, const std::string& name, const DecodeLimits& limits) {
  if (bytes.empty()) {
    fail(ErrorKind::bad_request, "check that the file was written and sent completely",
         "{}: the picture is empty (0 bytes)", name);
  }
  if (std::cmp_greater(bytes.size(), limits.max_bytes)) {
    fail_too_long(name, static_cast<int64_t>(bytes.size()), limits);
  }
  const Format format = find_format(bytes);
  if (format == Format::unknown) {
    fail(ErrorKind::bad_request, fmt::format("give a {} file", known_formats),
         "{}: not a picture in a format that is read here (its {} bytes begin with {})", name, bytes.size(),
         first_bytes(bytes));
  }
  if (format == Format::bmp) return decode_bmp(bytes, name, limits);
  if (format == Format::heif && is_avif(bytes)) return decode_avif(bytes, name, limits);
  return decode_any(bytes, format, name, limits);
}

Image read_image(const std::filesystem::path& path, const DecodeLimits& limits) {
  std::error_code ignored;
  if (const auto size = std::filesystem::file_size(path, ignored);
      !ignored && std::cmp_greater(size, limits.max_bytes)) {
    fail_too_long(path.string(), static_cast<int64_t>(size), limits);
  }
  // Read, not mapped: a mapping dies with the process when somebody shortens the file meanwhile.
  const std::string data = read_text(path, limits.max_bytes);
  return decode_image(std::as_bytes(std::span(data)), path.string(), limits);
}

}  // namespace vlm
