// The key "normalizer" of tokenizer.json.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "text/charsmap.h"

namespace vlm {

class Json;

// A part of the text on its way to the model.
struct Piece {
  std::string text;
  bool at_start = false;  // its first character is the first of the whole text
};

using Normalizer = std::function<void(Piece&)>;  // text: UTF-8, not empty; may become empty

// Sequences may nest this deep.
constexpr int kMaxSequenceDepth = 20;

Normalizer read_normalizer(const Json& value, int depth = 0);

namespace normalizers {
Normalizer sequence(std::vector<Normalizer> steps);
Normalizer nfc();
Normalizer lowercase();
Normalizer prepend(std::string prefix);
Normalizer replace(std::string pattern, std::string content);  // the pattern is plain text
Normalizer replace_regex(const std::string& pattern, std::string content, const std::string& where);
Normalizer bert(bool clean_text, bool handle_chinese_chars, bool strip_accents, bool lowercase);
Normalizer byte_level();
}  // namespace normalizers

// The text in which every byte stands as the printable character that GPT-2 gives it.
std::string bytes_to_letters(std::string_view text);
// The byte that a letter of that alphabet stands for, or -1.
int letter_to_byte(char32_t letter);

}  // namespace vlm
