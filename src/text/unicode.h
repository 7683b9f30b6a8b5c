// Unicode as the tokenizers see it: UTF-8, character properties, normal forms.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vlm {

// The text itself when it is UTF-8; otherwise every maximal part of an ill-formed sequence becomes U+FFFD.
std::string valid_utf8(std::string_view bytes);
bool is_valid_utf8(std::string_view bytes);

// The functions below take text that is UTF-8.
char32_t decode_char(std::string_view text, size_t at, size_t& length);
void append_char(std::string& text, char32_t letter);
std::u32string to_chars(std::string_view text);
std::string from_chars(std::u32string_view chars);
size_t count_chars(std::string_view text);

// Bytes of the character that starts with `lead`.
inline size_t char_length(char lead) {
  auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

bool is_white_space(char32_t letter);        // White_Space
bool is_numeric(char32_t letter);            // Nd, Nl, No
bool is_punctuation(char32_t letter);        // P*, and ASCII punctuation
bool is_ascii_punctuation(char32_t letter);  // the 32 of them
bool is_control(char32_t letter);            // C* but unassigned characters
bool is_mark(char32_t letter);               // Mn, Mc, Me
bool is_nonspacing_mark(char32_t letter);    // Mn
bool is_word(char32_t letter);               // \w: alphabetic, mark, decimal digit, connector, joiner
bool is_chinese(char32_t letter);            // the ideograph blocks that BERT isolates

void append_lower(std::string& text, char32_t letter);  // full mapping without context
std::string lower_text(std::string_view text);
// As Python's str.lower: a capital sigma at the end of a word becomes a final sigma.
std::string lower_with_final_sigma(std::string_view text);

enum class NormalForm { nfc, nfd, nfkc, nfkd };
// Linear in the length, also for long runs of combining marks.
std::string normalize(std::string_view text, NormalForm form);

// Byte offsets at which extended grapheme clusters begin, and the end of the text.
std::vector<size_t> grapheme_boundaries(std::string_view text);

}  // namespace vlm
