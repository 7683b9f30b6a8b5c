// What the decoders share. Internal to media/.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "media/draw.h"
#include "media/image.h"

namespace vlm {

// Throws bad_request when a picture of this size is beyond the limits; decoders call it with the header's
// numbers before they allocate.
void check_picture_size(int64_t height, int64_t width, const std::string& name, const DecodeLimits& limits);

[[noreturn]] void fail_damaged(const std::string& name, const std::string& format, const std::string& reason);

// Undoes an EXIF orientation (1 to 8; other values mean 1).
Image upright(Image image, int orientation);

// libvips has no BMP reader of its own: 1, 4, 8, 24 and 32 bits per pixel, not compressed.
Image decode_bmp(std::span<const std::byte> bytes, const std::string& name, const DecodeLimits& limits);

// Of the files that are like HEIC. The first picture.
bool is_avif(std::span<const std::byte> bytes);
Image decode_avif(std::span<const std::byte> bytes, const std::string& name, const DecodeLimits& limits);

// Runs `work` with libvips ready, no other thread's messages in its error buffer when it fails, and this
// thread's share of libvips freed when the thread ends. `work` returns false to say that libvips reported an
// error; it is then run again alone, and the error's text goes to `failed`.
void with_vips(const std::function<bool()>& work, const std::function<void(const std::string&)>& failed);

}  // namespace vlm
