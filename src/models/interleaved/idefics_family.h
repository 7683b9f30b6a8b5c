// What Idefics2 and Idefics3 share: names, the tower's config, how a picture's text takes the place of its
// mark.
#pragma once

#include <functional>

#include "models/common/spliced.h"
#include "parts/encoders/native_vit.h"
#include "parts/processors/image_processor.h"
#include "parts/processors/needed.h"

namespace vlm::interleaved {

inline constexpr char kImageMark[] = "<image>";
inline constexpr char kFakeToken[] = "<fake_token_around_image>";
inline constexpr char kPixelMask[] = "pixel_attention_mask";  // in MediaInput::extra: bool [n, H, W]

DecoderConfig idefics_text(const Json& config);
VitConfig idefics_vision(const Json& config);
int64_t idefics_image_token(const Checkpoint& checkpoint, int64_t published);

std::string repeat(const std::string& text, int64_t count);
// Writes text_of(medium) in the place of the medium's mark.
std::string replace_marks(const std::string& text, const std::vector<MediaInput>& media,
                          const std::function<std::string(const MediaInput&)>& text_of);

}  // namespace vlm::interleaved
