#include "parts/processors/longest_side.h"

#include <algorithm>

namespace vlm {

bool LongestSide::reads(const Json& json) {
  return json.get("image_processor_type", "").starts_with("SamImageProcessor");
}

LongestSide LongestSide::from(const Json& json) {
  constexpr int64_t kMost = 1 << 14;
  LongestSide processor;
  Json size = json.find("size"), pad = json.find("pad_size");
  if (size.is_object()) processor.side = size.integer("longest_edge", 1, kMost);
  if (pad.is_object() &&
      (pad.integer("height", 1, kMost) != processor.side || pad.integer("width", 1, kMost) != processor.side))
    fail(ErrorKind::unsupported, "every published checkpoint pads to the longest side",
         "{} is not a square of {} pixels", pad.path(), processor.side);
  processor.values.resample = Filter::bilinear;
  processor.values.image_mean = {0.485, 0.456, 0.406};
  processor.values.image_std = {0.229, 0.224, 0.225};
  processor.values.read_values(json);
  json.require("do_resize", true);
  json.require("do_pad", true);
  json.ignore({"do_convert_rgb", "processor_class", "image_processor_type", "mask_size", "mask_pad_size"});
  return processor;
}

std::array<int64_t, 2> LongestSide::resized(const Image& image) const {
  double scale = static_cast<double>(side) / static_cast<double>(std::max(image.height, image.width));
  auto scaled = [&](int64_t length) {
    return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(length) * scale + 0.5));
  };
  return {scaled(image.height), scaled(image.width)};
}

Tensor LongestSide::operator()(const Image& image) const {
  auto [height, width] = resized(image);
  Tensor pixels = values.pixel_values(resize_pillow(image, height, width, values.resample));
  return at::constant_pad_nd(pixels, {0, side - width, 0, side - height});
}

}  // namespace vlm
