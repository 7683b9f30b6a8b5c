// DeepSeek-VL's image processors: the longer side scaled to a square's, the rest filled up around it.
#pragma once

#include "base/json.h"
#include "media/image.h"
#include "parts/processors/image_processor.h"

namespace vlm::deepseek {

// One square view.
struct View {
  int64_t side = 384;
  int64_t min_size = 14;
  Filter filter = Filter::bicubic;
  std::array<uint8_t, 3> background{127, 127, 127};
  bool truncates = false;  // the authors cut the shorter side to whole pixels, transformers rounds it
  ImageProcessor normaliser;

  Image square(const Image& image) const;
};

struct Pictures {
  View low;
  std::optional<View> high;  // of two-tower models
  // The low view's pixels are those of the high one, scaled as floats by torchvision (the authors), or as
  // bytes by Pillow (transformers).
  bool scales_floats = false;

  // transformers' preprocessor_config.json.
  static Pictures hugging_face(const Json& preprocessor);
  // The authors': one view; `low_side` and the towers' own means when the model has two.
  static Pictures authors(const Json& preprocessor, const Json& vision_params);

  Tensor high_pixels(const Image& image) const;  // [1, 3, H, W]
  Tensor low_pixels(const Image& image) const;   // [1, 3, h, w]
};

}  // namespace vlm::deepseek
