#include "models/common/media.h"

#include "parts/processors/needed.h"

namespace vlm {

MediaInput single_view(const Image& image, const std::optional<ImageProcessor>& processor, int64_t rows) {
  MediaInput media;
  media.pixel_values = needed(processor)(image).unsqueeze(0);
  media.rows = rows;
  return media;
}

}  // namespace vlm
