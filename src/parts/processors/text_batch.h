// Batches for encoders: texts padded to one length, pictures stacked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "parts/processors/image_processor.h"
#include "text/tokenizer.h"

namespace vlm {

// int64 [B, T]: padded on the right with the pad token to the longest text; longer texts are cut to `limit`
// tokens and keep their last, the end of text.
Tensor longest_batch(const std::vector<std::string>& texts, const LoadedTokenizer& tokenizer, int64_t limit);
// int64 [B, length]: padded to `length` with the pad token.
Tensor fixed_batch(const std::vector<std::string>& texts, const LoadedTokenizer& tokenizer, int64_t length);
// float [B, 3, H, W]. Throws bad_request for no picture, bad_checkpoint when the checkpoint has no
// preprocessor.
Tensor image_batch(const std::vector<Image>& images, const std::optional<ImageProcessor>& processor);

}  // namespace vlm
