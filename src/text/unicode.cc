#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>

namespace vlm {

namespace {

// Length of the well-formed character at `at`, or 0; `bad` is then the length of the maximal ill-formed part
// (Unicode 3.9, table 3-7).
size_t well_formed(std::string_view bytes, size_t at, size_t& bad) {
  auto byte = [&](size_t index) { return static_cast<unsigned char>(bytes[index]); };
  unsigned char lead = byte(at);
  bad = 1;
  if (lead < 0x80) return 1;
  size_t length = lead >= 0xc2 && lead <= 0xdf   ? 2
                  : (lead & 0xf0) == 0xe0        ? 3
                  : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                 : 0;
  if (length == 0) return 0;
  unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t offset = 1; offset < length; ++offset) {
    if (at + offset >= bytes.size()) return 0;
    unsigned char next = byte(at + offset);
    if (next < low || next > high) return 0;
    low = 0x80;
    high = 0xbf;
    bad = offset + 1;
  }
  return length;
}

utf8proc_category_t category(char32_t letter) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(letter));
}

bool is_final_sigma(const std::u32string& chars, size_t at) {
  // Case_Ignorable is approximated by marks, format characters, modifiers and the punctuation it lists.
  auto ignorable = [](char32_t letter) {
    auto kind = category(letter);
    return is_mark(letter) || kind == UTF8PROC_CATEGORY_CF || kind == UTF8PROC_CATEGORY_LM ||
           kind == UTF8PROC_CATEGORY_SK || letter == U'\'' || letter == U'.' || letter == U':' ||
           letter == 0xb7 || letter == 0x2018 || letter == 0x2019 || letter == 0x2024 || letter == 0x2027;
  };
  auto cased = [](char32_t letter) {
    auto kind = category(letter);
    return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL || kind == UTF8PROC_CATEGORY_LT;
  };
  size_t before = at;
  while (before > 0 && ignorable(chars[before - 1])) --before;
  if (before == 0 || !cased(chars[before - 1])) return false;
  size_t after = at + 1;
  while (after < chars.size() && ignorable(chars[after])) ++after;
  return after == chars.size() || !cased(chars[after]);
}

}  // namespace

bool is_valid_utf8(std::string_view bytes) {
  size_t bad;
  for (size_t at = 0; at < bytes.size();) {
    size_t length = well_formed(bytes, at, bad);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string valid_utf8(std::string_view bytes) {
  if (is_valid_utf8(bytes)) return std::string(bytes);
  std::string text;
  text.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    size_t bad;
    size_t length = well_formed(bytes, at, bad);
    if (length == 0) {
      text += "\xef\xbf\xbd";
      at += bad;
    } else {
      text.append(bytes.substr(at, length));
      at += length;
    }
  }
  return text;
}

char32_t decode_char(std::string_view text, size_t at, size_t& length) {
  auto byte = [&](size_t offset) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[at + offset]));
  };
  length = std::min(char_length(text[at]), text.size() - at);
  switch (length) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3:
      return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    default:
      return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  }
}

void append_char(std::string& text, char32_t letter) {
  auto put = [&](char32_t byte) { text += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (letter < 0x80) {
    put(letter);
  } else if (letter < 0x800) {
    put(0xc0 | letter >> 6);
    put(0x80 | (letter & 0x3f));
  } else if (letter < 0x10000) {
    put(0xe0 | letter >> 12);
    put(0x80 | (letter >> 6 & 0x3f));
    put(0x80 | (letter & 0x3f));
  } else {
    put(0xf0 | letter >> 18);
    put(0x80 | (letter >> 12 & 0x3f));
    put(0x80 | (letter >> 6 & 0x3f));
    put(0x80 | (letter & 0x3f));
  }
}

std::u32string to_chars(std::string_view text) {
  std::u32string chars;
  chars.reserve(text.size());
  for (size_t at = 0, length; at < text.size(); at += length) chars += decode_char(text, at, length);
  return chars;
}

std::string from_chars(std::u32string_view chars) {
  std::string text;
  text.reserve(chars.size());
  for (char32_t letter : chars) append_char(text, letter);
  return text;
}

size_t count_chars(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xc0) != 0x80; }));
}

bool is_white_space(char32_t letter) {
  return (letter >= 0x9 && letter <= 0xd) || letter == 0x20 || letter == 0x85 || letter == 0xa0 ||
         letter == 0x1680 || (letter >= 0x2000 && letter <= 0x200a) || letter == 0x2028 || letter == 0x2029 ||
         letter == 0x202f || letter == 0x205f || letter == 0x3000;
}

bool is_numeric(char32_t letter) {
  auto kind = category(letter);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO;
}

bool is_ascii_punctuation(char32_t letter) {
  return (letter >= 0x21 && letter <= 0x2f) || (letter >= 0x3a && letter <= 0x40) ||
         (letter >= 0x5b && letter <= 0x60) || (letter >= 0x7b && letter <= 0x7e);
}

bool is_punctuation(char32_t letter) {
  if (letter < 0x80) return is_ascii_punctuation(letter);
  auto kind = category(letter);
  return kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO;
}

bool is_control(char32_t letter) {
  auto kind = category(letter);
  return kind == UTF8PROC_CATEGORY_CC || kind == UTF8PROC_CATEGORY_CF || kind == UTF8PROC_CATEGORY_CO;
}

bool is_mark(char32_t letter) {
  auto kind = category(letter);
  return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_MC || kind == UTF8PROC_CATEGORY_ME;
}

bool is_nonspacing_mark(char32_t letter) {
  return category(letter) == UTF8PROC_CATEGORY_MN;
}

bool is_word(char32_t letter) {
  auto kind = category(letter);
  if (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO) return true;
  if (is_mark(letter) || kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
      kind == UTF8PROC_CATEGORY_PC)
    return true;
  // Join_Control, and the circled and squared letters, which are alphabetic symbols.
  return letter == 0x200c || letter == 0x200d || (letter >= 0x24b6 && letter <= 0x24e9) ||
         (letter >= 0x1f130 && letter <= 0x1f149) || (letter >= 0x1f150 && letter <= 0x1f169) ||
         (letter >= 0x1f170 && letter <= 0x1f189);
}

bool is_chinese(char32_t letter) {
  auto within = [letter](char32_t low, char32_t high) { return letter >= low && letter <= high; };
  return within(0x4e00, 0x9fff) || within(0x3400, 0x4dbf) || within(0x20000, 0x2a6df) ||
         within(0x2a700, 0x2b73f) || within(0x2b740, 0x2b81f) || within(0x2b920, 0x2ceaf) ||
         within(0xf900, 0xfaff) || within(0x2f800, 0x2fa1f);
}

void append_lower(std::string& text, char32_t letter) {
  if (letter < 0x80) {
    text += static_cast<char>(letter >= 'A' && letter <= 'Z' ? letter + 32 : letter);
  } else if (letter == 0x130) {  // the only character whose lower case is two characters
    text += "i\xcc\x87";
  } else {
    append_char(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(letter))));
  }
}

std::string lower_text(std::string_view text) {
  std::string lower;
  lower.reserve(text.size());
  for (size_t at = 0, length; at < text.size(); at += length)
    append_lower(lower, decode_char(text, at, length));
  return lower;
}

std::string lower_with_final_sigma(std::string_view text) {
  if (text.find("\xce\xa3") == text.npos) return lower_text(text);
  std::u32string chars = to_chars(text);
  std::string lower;
  for (size_t at = 0; at < chars.size(); ++at) {
    if (chars[at] == 0x3a3 && is_final_sigma(chars, at))
      append_char(lower, 0x3c2);
    else
      append_lower(lower, chars[at]);
  }
  return lower;
}

std::string normalize(std::string_view text, NormalForm form) {
  bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
  bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  // Below U+0300 (ASCII for the other forms) every character is its own normal form.
  unsigned char safe = form == NormalForm::nfc ? 0xcc : 0x80;
  if (std::all_of(text.begin(), text.end(),
                  [&](char byte) { return static_cast<unsigned char>(byte) < safe; }))
    return std::string(text);

  auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> chars;
  chars.reserve(text.size());
  for (size_t at = 0, length; at < text.size(); at += length) {
    auto letter = static_cast<utf8proc_int32_t>(decode_char(text, at, length));
    utf8proc_int32_t parts[32];  // the longest decomposition has 18 characters
    int boundclass = 0;
    auto count = utf8proc_decompose_char(letter, parts, 32, options, &boundclass);
    if (count < 1 || count > 32)
      chars.push_back(letter);
    else
      chars.insert(chars.end(), parts, parts + count);
  }
  // Canonical order by a stable sort of each run of marks: utf8proc's own ordering is quadratic in the run.
  auto combining = [](utf8proc_int32_t letter) { return utf8proc_get_property(letter)->combining_class; };
  for (auto run = chars.begin(); run != chars.end();) {
    if (combining(*run) == 0) {
      ++run;
      continue;
    }
    auto end = std::find_if(run, chars.end(), [&](auto letter) { return combining(letter) == 0; });
    std::stable_sort(run, end, [&](auto left, auto right) { return combining(left) < combining(right); });
    run = end;
  }
  auto count = static_cast<utf8proc_ssize_t>(chars.size());
  if (compose)
    count = utf8proc_normalize_utf32(chars.data(), count,
                                     static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  std::string normal;
  normal.reserve(text.size());
  for (utf8proc_ssize_t at = 0; at < count; ++at)
    append_char(normal, static_cast<char32_t>(chars[static_cast<size_t>(at)]));
  return normal;
}

std::vector<size_t> grapheme_boundaries(std::string_view text) {
  std::vector<size_t> boundaries;
  utf8proc_int32_t state = 0;
  utf8proc_int32_t previous = 0;
  for (size_t at = 0, length; at < text.size(); at += length) {
    auto letter = static_cast<utf8proc_int32_t>(decode_char(text, at, length));
    if (at == 0 || utf8proc_grapheme_break_stateful(previous, letter, &state)) boundaries.push_back(at);
    previous = letter;
  }
  boundaries.push_back(text.size());
  return boundaries;
}

}  // namespace vlm
