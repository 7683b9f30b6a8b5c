// Media of systems that see each picture once, at one size.
#pragma once

#include <optional>

#include "parts/processors/image_processor.h"
#include "system/system.h"

namespace vlm {

// pixel_values [1, 3, H, W], and `rows` feature rows. Throws bad_checkpoint without a processor.
MediaInput single_view(const Image& image, const std::optional<ImageProcessor>& processor, int64_t rows);

}  // namespace vlm
