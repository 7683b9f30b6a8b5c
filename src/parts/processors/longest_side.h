// SAM's image processor: the longer side scaled to the encoder's, zeros below or to the right of what was
// normalised.
#pragma once

#include "base/json.h"
#include "media/image.h"
#include "parts/processors/image_processor.h"

namespace vlm {

struct LongestSide {
  int64_t side = 1024;
  ImageProcessor values;  // filter, rescaling, normalisation

  static bool reads(const Json& preprocessor_config);  // SamImageProcessor
  static LongestSide from(const Json& preprocessor_config);

  // {height, width} that the picture takes of the square.
  std::array<int64_t, 2> resized(const Image& image) const;
  Tensor operator()(const Image& image) const;  // [3, side, side]
};

}  // namespace vlm
