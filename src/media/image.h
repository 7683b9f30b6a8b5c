// Pictures: decoding, exact resampling, geometry. Pixels are 8-bit RGB, rows top to bottom, [height, width,
// 3].
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "media/pixel_memory.h"

namespace vlm {

struct Image {
  int64_t height = 0;
  int64_t width = 0;
  Pixels pixels;  // [height, width, 3]

  static Image of_size(int64_t height, int64_t width);  // whose pixels are yet to be written
  static Image filled(int64_t height, int64_t width, std::array<uint8_t, 3> rgb);
  uint8_t* row(int64_t y) { return pixels.data() + y * width * 3; }
  const uint8_t* row(int64_t y) const { return pixels.data() + y * width * 3; }
};

struct DecodeLimits {
  int64_t max_bytes = int64_t{256} << 20;   // of the encoded file
  int64_t max_pixels = int64_t{200} << 20;  // checked from the header before anything is decoded
  int64_t max_side = 65500;
};

// JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC, PPM where libvips reads them; the first frame of an animation.
// EXIF rotation is applied. As Pillow's convert("RGB"): an alpha channel is dropped without compositing,
// palettes are expanded, 16-bit goes to 8, CMYK to RGB, grey to three equal channels. `name` is how messages
// call the picture. Throws bad_request (not a picture, damaged, empty, too large).
Image decode_image(std::span<const std::byte> bytes, const std::string& name,
                   const DecodeLimits& limits = {});
Image read_image(const std::filesystem::path& path, const DecodeLimits& limits = {});

void write_png(const std::filesystem::path& path, const Image& image);
void write_jpeg(const std::filesystem::path& path, const Image& image, int quality = 90);

enum class Filter { nearest, box, bilinear, hamming, bicubic, lanczos };

// A larger picture of one colour with the picture at (top, left).
struct Ground {
  int64_t height = 0, width = 0;
  int64_t top = 0, left = 0;
  std::array<uint8_t, 3> fill{};
};

struct Window {
  int64_t top = 0, left = 0;
  int64_t height = 0, width = 0;
};

// Bit for bit what the Image.resize((width, height), filter) of Pillow 13 gives: two passes, fixed-point
// weights, 8 bits between. Older versions differ by single steps on some pictures whose height shrinks the
// most (the order of the passes changed).
Image resize_pillow(const Image& image, int64_t height, int64_t width, Filter filter);

// The same as pad() before and crop() behind the resize, without the work for what is cropped away and
// without a copy of the picture. The window lies inside the result.
Image resize_pillow(const Image& image, int64_t height, int64_t width, Filter filter, const Ground& ground,
                    const Window& window);

// Planar float image [3, height, width]; what torchvision-based processors work on.
struct FloatImage {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  std::vector<float> values;  // [channels, height, width]
};
FloatImage to_float(const Image& image);  // 0..255

// torch.nn.functional.interpolate(..., mode, antialias=antialias, align_corners=False) on float32; filter:
// bilinear or bicubic, nearest (antialias ignored), or lanczos (antialias only).
FloatImage resize_torch(const FloatImage& image, int64_t height, int64_t width, Filter filter,
                        bool antialias);
// Bit for bit as torchvision resizes uint8 tensors on a CPU (AVX2, AVX-512 or ARM): torch's own 8-bit passes,
// with 16-bit weights and 8 bits between.
Image resize_torch(const Image& image, int64_t height, int64_t width, Filter filter, bool antialias);

// Copies the rectangle; parts outside the picture are filled with `fill` (Pillow's crop and transformers'
// center_crop use black).
Image crop(const Image& image, int64_t top, int64_t left, int64_t height, int64_t width,
           std::array<uint8_t, 3> fill = {0, 0, 0});
// A picture of the given size with `image` pasted at (top, left).
Image pad(const Image& image, int64_t height, int64_t width, int64_t top, int64_t left,
          std::array<uint8_t, 3> fill);

}  // namespace vlm
