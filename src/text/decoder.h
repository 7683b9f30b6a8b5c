// The key "decoder" of tokenizer.json: tokens back to text.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace vlm {

class Json;

using Decoder = std::function<void(std::vector<std::string>&)>;  // the text is what it leaves, joined

Decoder read_decoder(const Json& value, int depth = 0);

namespace decoders {
Decoder sequence(std::vector<Decoder> steps);
Decoder byte_level();
Decoder byte_fallback();
Decoder fuse();
Decoder strip(std::string letter, int64_t start, int64_t stop);
Decoder replace(const std::string& pattern, std::string content);
Decoder word_piece(std::string prefix, bool cleanup);
}  // namespace decoders

// Removes the blanks that a word-based decoder leaves in front of punctuation and English contractions.
std::string clean_up_spaces(std::string text);

}  // namespace vlm
