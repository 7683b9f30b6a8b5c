// What Python's str does, on UTF-8: code points, character classes, case, numbers as text. A byte that is not
// valid UTF-8 counts as one character and stays as it is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vlm::jinja {

struct CodePoint {
  uint32_t value = 0;  // the byte itself where the text is not valid UTF-8
  size_t num_bytes = 0;
};

CodePoint code_point_at(std::string_view text, size_t offset);
void append_code_point(std::string& text, uint32_t value);

bool is_ascii(std::string_view text);
int64_t num_characters(std::string_view text);
std::vector<std::string_view> characters(std::string_view text);
// Byte offset of a character; `index` may be num_characters(text).
size_t byte_offset(std::string_view text, int64_t index);

bool is_space(uint32_t code_point);
bool is_alpha(uint32_t code_point);
bool is_digit(uint32_t code_point);
bool is_printable(uint32_t code_point);

std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title_words(std::string_view text);  // str.title(): a letter after a non-letter is a title letter
std::string swap_case(std::string_view text);

// `set` empty: white space.
std::string_view strip_left(std::string_view text, std::string_view set = {});
std::string_view strip_right(std::string_view text, std::string_view set = {});
std::string_view strip(std::string_view text, std::string_view set = {});

// Python's repr(): 1.0, 1e+16, inf; 'it is', "it's".
std::string float_text(double value);
std::string quotation(std::string_view text);

// int("..."), float("..."): false where Python raises ValueError.
bool parse_integer(std::string_view text, int base, int64_t& value);
bool parse_float(std::string_view text, double& value);

}  // namespace vlm::jinja
