#include "text/jinja_text.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/error.h"

namespace vlm::jinja {

CodePoint code_point_at(std::string_view text, size_t offset) {
  auto lead = static_cast<unsigned char>(text[offset]);
  if (lead < 0x80) return {lead, 1};
  utf8proc_int32_t value = 0;
  auto left = static_cast<utf8proc_ssize_t>(std::min<size_t>(4, text.size() - offset));
  utf8proc_ssize_t length =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + offset, left, &value);
  if (length <= 0) return {lead, 1};
  return {static_cast<uint32_t>(value), static_cast<size_t>(length)};
}

void append_code_point(std::string& text, uint32_t value) {
  utf8proc_uint8_t bytes[4];
  utf8proc_ssize_t length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(value), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char letter) { return static_cast<signed char>(letter) >= 0; });
}

int64_t num_characters(std::string_view text) {
  if (is_ascii(text)) return static_cast<int64_t>(text.size());
  int64_t count = 0;
  for (size_t offset = 0; offset < text.size(); offset += code_point_at(text, offset).num_bytes) ++count;
  return count;
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> list;
  for (size_t offset = 0; offset < text.size();) {
    size_t length = code_point_at(text, offset).num_bytes;
    list.push_back(text.substr(offset, length));
    offset += length;
  }
  return list;
}

size_t byte_offset(std::string_view text, int64_t index) {
  if (is_ascii(text)) return static_cast<size_t>(index);
  size_t offset = 0;
  for (; index > 0 && offset < text.size(); --index) offset += code_point_at(text, offset).num_bytes;
  return offset;
}

// --- character classes

namespace {
utf8proc_category_t category(uint32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}
}  // namespace

bool is_space(uint32_t code_point) {
  if (code_point < 0x80)
    return (code_point >= 0x09 && code_point <= 0x0d) || (code_point >= 0x1c && code_point <= 0x20);
  return code_point == 0x85 || code_point == 0xa0 || code_point == 0x1680 ||
         (code_point >= 0x2000 && code_point <= 0x200a) || code_point == 0x2028 || code_point == 0x2029 ||
         code_point == 0x202f || code_point == 0x205f || code_point == 0x3000;
}

bool is_alpha(uint32_t code_point) {
  utf8proc_category_t kind = category(code_point);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL || kind == UTF8PROC_CATEGORY_LT ||
         kind == UTF8PROC_CATEGORY_LM || kind == UTF8PROC_CATEGORY_LO;
}

bool is_digit(uint32_t code_point) {
  return category(code_point) == UTF8PROC_CATEGORY_ND;
}

bool is_printable(uint32_t code_point) {
  if (code_point < 0x80) return code_point >= 0x20 && code_point < 0x7f;
  switch (category(code_point)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

// --- case

namespace {

enum class Case { upper, lower, title };

void append_case(std::string& out, std::string_view text, size_t offset, const CodePoint& letter,
                 Case wanted) {
  bool is_text = letter.num_bytes > 1 || letter.value < 0x80;  // not a stray byte
  if (!is_text) {
    out += text[offset];
  } else if (letter.value == 0xdf && wanted != Case::lower) {  // the one common letter that grows
    out += wanted == Case::upper ? "SS" : "Ss";
  } else {
    auto value = static_cast<utf8proc_int32_t>(letter.value);
    utf8proc_int32_t changed = wanted == Case::upper   ? utf8proc_toupper(value)
                               : wanted == Case::lower ? utf8proc_tolower(value)
                                                       : utf8proc_totitle(value);
    append_code_point(out, static_cast<uint32_t>(changed));
  }
}

template <typename Choose>
std::string map_case(std::string_view text, Choose&& choose) {
  std::string out;
  out.reserve(text.size());
  for (size_t offset = 0; offset < text.size();) {
    CodePoint letter = code_point_at(text, offset);
    append_case(out, text, offset, letter, choose(letter.value));
    offset += letter.num_bytes;
  }
  return out;
}

bool is_upper_letter(uint32_t code_point) {
  return category(code_point) == UTF8PROC_CATEGORY_LU;
}

}  // namespace

std::string to_upper(std::string_view text) {
  return map_case(text, [](uint32_t) { return Case::upper; });
}

std::string to_lower(std::string_view text) {
  return map_case(text, [](uint32_t) { return Case::lower; });
}

std::string capitalize(std::string_view text) {
  return map_case(text, [first = true](uint32_t) mutable {
    Case wanted = first ? Case::title : Case::lower;
    first = false;
    return wanted;
  });
}

std::string title_words(std::string_view text) {
  return map_case(text, [inside = false](uint32_t letter) mutable {
    Case wanted = inside ? Case::lower : Case::title;
    inside = is_alpha(letter);
    return wanted;
  });
}

std::string swap_case(std::string_view text) {
  return map_case(text, [](uint32_t letter) { return is_upper_letter(letter) ? Case::lower : Case::upper; });
}

// --- strip

namespace {
bool in_set(std::string_view text, size_t offset, const CodePoint& letter, std::string_view set) {
  if (set.empty()) return is_space(letter.value);
  std::string_view bytes = text.substr(offset, letter.num_bytes);
  for (size_t at = 0; at < set.size(); at += code_point_at(set, at).num_bytes)
    if (set.substr(at, code_point_at(set, at).num_bytes) == bytes) return true;
  return false;
}
}  // namespace

std::string_view strip_left(std::string_view text, std::string_view set) {
  size_t offset = 0;
  while (offset < text.size()) {
    CodePoint letter = code_point_at(text, offset);
    if (!in_set(text, offset, letter, set)) break;
    offset += letter.num_bytes;
  }
  return text.substr(offset);
}

std::string_view strip_right(std::string_view text, std::string_view set) {
  size_t end = text.size();
  while (end > 0) {
    size_t offset = end - 1;
    for (size_t back = 1; back < 4 && back < end; ++back) {  // the start of a longer character?
      if ((static_cast<unsigned char>(text[end - back]) & 0xc0) != 0x80) break;
      if (code_point_at(text, end - back - 1).num_bytes == back + 1) {
        offset = end - back - 1;
        break;
      }
    }
    if (!in_set(text, offset, code_point_at(text, offset), set)) break;
    end = offset;
  }
  return text.substr(0, end);
}

std::string_view strip(std::string_view text, std::string_view set) {
  return strip_right(strip_left(text, set), set);
}

// --- numbers

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer - 1, value, std::chars_format::scientific).ptr;
  *end = '\0';
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  std::string sign;
  if (text.front() == '-') {
    sign = "-";
    text.remove_prefix(1);
  }
  size_t mark = text.find('e');
  std::string digits(text.substr(0, mark));
  digits.erase(std::remove(digits.begin(), digits.end(), '.'), digits.end());
  int exponent = std::atoi(text.data() + mark + 1);
  auto count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    std::string mantissa = digits.substr(0, 1) + (count > 1 ? "." + digits.substr(1) : "");
    return fmt::format("{}{}e{}{:02d}", sign, mantissa, exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1)
    return sign + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  return sign + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<size_t>(exponent) + 1);
}

std::string quotation(std::string_view text) {
  bool has_single = text.find('\'') != std::string_view::npos;
  char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t offset = 0; offset < text.size();) {
    CodePoint letter = code_point_at(text, offset);
    if (letter.value == '\n')
      out += "\\n";
    else if (letter.value == '\r')
      out += "\\r";
    else if (letter.value == '\t')
      out += "\\t";
    else if (letter.value == '\\' || letter.value == static_cast<unsigned char>(quote))
      (out += '\\') += static_cast<char>(letter.value);
    else if (is_printable(letter.value) || (letter.num_bytes == 1 && letter.value >= 0x80))
      out += text.substr(offset, letter.num_bytes);
    else if (letter.value < 0x100)
      out += fmt::format("\\x{:02x}", letter.value);
    else if (letter.value < 0x10000)
      out += fmt::format("\\u{:04x}", letter.value);
    else
      out += fmt::format("\\U{:08x}", letter.value);
    offset += letter.num_bytes;
  }
  out += quote;
  return out;
}

namespace {

// Drops the underscores that Python allows between digits; false where one stands elsewhere.
bool drop_underscores(std::string_view text, std::string& digits) {
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '_') {
      digits += text[at];
      continue;
    }
    auto is_alnum = [&](size_t where) {
      return where < text.size() && std::isalnum(static_cast<unsigned char>(text[where]));
    };
    if (at == 0 || !is_alnum(at - 1) || !is_alnum(at + 1)) return false;
  }
  return true;
}

}  // namespace

bool parse_integer(std::string_view text, int base, int64_t& value) {
  text = strip(text);
  bool negative = !text.empty() && text.front() == '-';
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) text.remove_prefix(1);
  if (text.size() > 2 && text[0] == '0') {
    char mark = static_cast<char>(text[1] | 0x20);
    int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked != 0 && (base == marked || base == 0)) {
      base = marked;
      text.remove_prefix(2);
    }
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36) return false;
  std::string digits;
  if (!drop_underscores(text, digits) || digits.empty() || digits.front() == '-') return false;
  auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (problem == std::errc::result_out_of_range)
    fail(ErrorKind::bad_request, "use a smaller number", "the integer {} is outside 64 bits",
         digits.substr(0, 40));
  if (problem != std::errc() || end != digits.data() + digits.size()) return false;
  if (negative) value = -value;
  return true;
}

bool parse_float(std::string_view text, double& value) {
  std::string digits;
  if (!drop_underscores(strip(text), digits) || digits.empty()) return false;
  for (char letter : digits)  // strtod also reads hexadecimal and nan(...)
    if (letter == 'x' || letter == 'X' || letter == '(') return false;
  char* end = nullptr;
  value = std::strtod(digits.c_str(), &end);
  return end == digits.c_str() + digits.size();
}

}  // namespace vlm::jinja
