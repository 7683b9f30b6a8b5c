// Bytes of strangers to pixels: which format, how large, then libvips, then Pillow's conversion to RGB.
#include "media/decode.h"

#include <vips/vips.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/files.h"

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
      return "AVIF/HEIC";
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

template <typename T, bool shift>
void to_rgb(const T* samples, int bands, Image& image) {
  const int step = bands >= 3 ? 1 : 0;
  uint8_t* target = image.pixels.data();
  for (int64_t i = 0; i < image.height * image.width; ++i, samples += bands, target += 3) {
    for (int c = 0; c < 3; ++c) target[c] = to_byte<T, shift>(samples[c * step]);
  }
}

void cmyk_to_rgb(const uint8_t* samples, int bands, Image& image) {
  uint8_t* target = image.pixels.data();
  for (int64_t i = 0; i < image.height * image.width; ++i, samples += bands, target += 3) {
    const int white = 255 - samples[3];
    for (int c = 0; c < 3; ++c) {
      const int product = samples[c] * white + 128;  // divided by 255 with rounding, as Pillow does it
      target[c] = static_cast<uint8_t>(std::clamp(white - ((product >> 8) + product) / 256, 0, 255));
    }
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

// False when libvips reported an error.
bool read_pixels(VipsImage* source, Image& image) {
  size_t size = 0;
  std::unique_ptr<void, void (*)(void*)> memory(vips_image_write_to_memory(source, &size),
                                                [](void* p) { g_free(p); });
  if (!memory) return false;
  const int bands = source->Bands;
  image = {source->Ysize, source->Xsize, {}};
  image.pixels.resize(static_cast<size_t>(image.height * image.width * 3));
  VLM_CHECK(size == VIPS_IMAGE_SIZEOF_PEL(source) * static_cast<size_t>(image.height * image.width));
  const void* samples = memory.get();
  switch (source->BandFmt) {
    case VIPS_FORMAT_UCHAR:
      if (source->Type == VIPS_INTERPRETATION_CMYK && bands >= 4) {
        cmyk_to_rgb(static_cast<const uint8_t*>(samples), bands, image);
      } else {
        to_rgb<uint8_t, false>(static_cast<const uint8_t*>(samples), bands, image);
      }
      return true;
    case VIPS_FORMAT_USHORT:
      if (bands == 1) {
        to_rgb<uint16_t, false>(static_cast<const uint16_t*>(samples), bands, image);
      } else {
        to_rgb<uint16_t, true>(static_cast<const uint16_t*>(samples), bands, image);
      }
      return true;
    case VIPS_FORMAT_UINT:
      to_rgb<uint32_t, false>(static_cast<const uint32_t*>(samples), bands, image);
      return true;
    case VIPS_FORMAT_SHORT:
      to_rgb<int16_t, false>(static_cast<const int16_t*>(samples), bands, image);
      return true;
    case VIPS_FORMAT_INT:
      to_rgb<int32_t, false>(static_cast<const int32_t*>(samples), bands, image);
      return true;
    case VIPS_FORMAT_FLOAT:
      to_rgb<float, false>(static_cast<const float*>(samples), bands, image);
      return true;
    case VIPS_FORMAT_DOUBLE:
      to_rgb<double, false>(static_cast<const double*>(samples), bands, image);
      return true;
    default:
      vips_error("vlm", "samples of type %d", source->BandFmt);
      return false;
  }
}

Image decode_with_vips(Bytes bytes, Format format, const std::string& name, const DecodeLimits& limits) {
  Image image;
  int orientation = 1;
  std::vector<std::byte> changed;
  if (format == Format::gif) bytes = changed = opaque_gif(bytes);
  with_vips(
      [&] {
        VipsPointer source = open_vips(bytes, format);
        if (!source) return false;
        check_picture_size(source->Ysize, source->Xsize, name, limits);
        // AVIF and HEIC rotate as they decode; their EXIF field is a leftover.
        if (format != Format::heif) orientation = vips_image_get_orientation(source.get());
        return read_pixels(source.get(), image);
      },
      [&](const std::string& reason) { fail_damaged(name, format_name(format), reason); });
  return upright(std::move(image), orientation);
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
  // Orientations: 2 mirror, 3 half turn, 4 flip, 5 transpose, 6 turn right, 7 transverse, 8 turn left.
  const bool transposed = orientation >= 5;
  const bool mirrored = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flipped = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image result{transposed ? image.width : image.height, transposed ? image.height : image.width, {}};
  result.pixels.resize(image.pixels.size());
  for (int64_t y = 0; y < result.height; ++y) {
    uint8_t* target = result.row(y);
    for (int64_t x = 0; x < result.width; ++x, target += 3) {
      int64_t from_y = transposed ? x : y, from_x = transposed ? y : x;
      if (mirrored) from_x = image.width - 1 - from_x;
      if (flipped) from_y = image.height - 1 - from_y;
      std::memcpy(target, image.row(from_y) + from_x * 3, 3);
    }
  }
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
  return decode_with_vips(bytes, format, name, limits);
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
