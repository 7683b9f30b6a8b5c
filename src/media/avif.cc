// AVIF through libavif, whose way from YCbCr to RGB is Pillow's; libvips enlarges subsampled colour
// differently.
#include <avif/avif.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "media/decode.h"

namespace vlm {
namespace {

struct Destroy {
  void operator()(avifDecoder* decoder) const { avifDecoderDestroy(decoder); }
};

// The EXIF orientation that means the same as the file's rotation and, behind it, its mirror.
int orientation_of(const avifImage& image) {
  // By quarter turns counter-clockwise; without a mirror, top and bottom exchanged, left and right exchanged.
  constexpr int orientations[4][3] = {{1, 4, 2}, {8, 5, 7}, {3, 2, 4}, {6, 7, 5}};
  const int quarters = image.transformFlags & AVIF_TRANSFORM_IROT ? image.irot.angle & 3 : 0;
  const int mirror = image.transformFlags & AVIF_TRANSFORM_IMIR ? 1 + (image.imir.mode & 1) : 0;
  return orientations[quarters][mirror];
}

}  // namespace

bool is_avif(std::span<const std::byte> bytes) {
  const avifROData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  return avifPeekCompatibleFileType(&data) == AVIF_TRUE;
}

Image decode_avif(std::span<const std::byte> bytes, const std::string& name, const DecodeLimits& limits) {
  auto check = [&](avifResult result) {
    if (result != AVIF_RESULT_OK) fail_damaged(name, "AVIF", avifResultToString(result));
  };
  std::unique_ptr<avifDecoder, Destroy> decoder(avifDecoderCreate());
  VLM_CHECK(decoder, "no memory for a decoder");
  // As Pillow does: many files lack what these ask for.
  decoder->strictFlags &= ~static_cast<avifStrictFlags>(AVIF_STRICT_CLAP_VALID | AVIF_STRICT_PIXI_REQUIRED);
  decoder->ignoreExif = decoder->ignoreXMP = AVIF_TRUE;
  check(avifDecoderSetIOMemory(decoder.get(), reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  check(avifDecoderParse(decoder.get()));
  check_picture_size(decoder->image->height, decoder->image->width, name, limits);
  check(avifDecoderNextImage(decoder.get()));
  const avifImage& source = *decoder->image;
  check_picture_size(source.height, source.width, name, limits);
  Image image = Image::of_size(source.height, source.width);
  avifRGBImage rgb;
  avifRGBImageSetDefaults(&rgb, &source);
  rgb.depth = 8;
  if (!decoder->alphaPresent) {
    rgb.format = AVIF_RGB_FORMAT_RGB;
    rgb.rowBytes = static_cast<uint32_t>(source.width * 3);
    rgb.pixels = image.pixels.data();
    check(avifImageYUVToRGB(&source, &rgb));
    return upright(std::move(image), orientation_of(source));
  }
  // With the alpha channel, which may be multiplied into the colours, and then without.
  Pixels pixels(static_cast<size_t>(image.height * image.width * 4));
  rgb.format = AVIF_RGB_FORMAT_RGBA;
  rgb.rowBytes = static_cast<uint32_t>(source.width * 4);
  rgb.pixels = pixels.data();
  check(avifImageYUVToRGB(&source, &rgb));
  const uint8_t* from = pixels.data();
  for (size_t at = 0; at < image.pixels.size(); at += 3, from += 4) std::copy_n(from, 3, &image.pixels[at]);
  return upright(std::move(image), orientation_of(source));
}

}  // namespace vlm
