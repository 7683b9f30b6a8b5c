#include "text/charsmap.h"

#include <cstring>

#include "base/error.h"
#include "text/unicode.h"

namespace vlm {

Charsmap::Charsmap(std::string_view blob, const std::string& where) {
  if (blob.empty()) return;
  auto word = [&](size_t index) {
    auto byte = [&](size_t at) { return static_cast<uint32_t>(static_cast<unsigned char>(blob[at])); };
    return byte(index) | byte(index + 1) << 8 | byte(index + 2) << 16 | byte(index + 3) << 24;
  };
  size_t trie_bytes = blob.size() < 4 ? 0 : word(0);
  if (blob.size() < 4 || trie_bytes > blob.size() - 4 || trie_bytes % 4 != 0 || trie_bytes == 0)
    fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
         "{}: precompiled_charsmap has {} bytes, its trie claims {}", where, blob.size(), trie_bytes);
  units_.resize(trie_bytes / 4);
  for (size_t unit = 0; unit < units_.size(); ++unit) units_[unit] = word(4 + 4 * unit);
  replacements_ = blob.substr(4 + trie_bytes);
  if (!is_valid_utf8(replacements_))
    fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again",
         "{}: the replacements of precompiled_charsmap are not UTF-8", where);
}

std::string_view Charsmap::replacement(uint32_t value) const {
  if (value >= replacements_.size()) return "";
  // A pointer into the middle of a character can only come from a damaged file.
  if ((replacements_[value] & 0xc0) == 0x80) return "";
  return std::string_view(replacements_).substr(value, std::strlen(replacements_.c_str() + value));
}

// Unit layout of the darts-clone library: bits 0-7 label, bit 8 "has a leaf", bit 9 and 10-30 the offset to
// the children; a leaf has bit 31 set and its value below.
template <typename Visit>
void Charsmap::walk(std::string_view text, Visit&& visit) const {
  if (units_.empty()) return;
  auto offset = [](uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); };
  uint32_t node = offset(units_[0]);
  for (size_t at = 0; at < text.size(); ++at) {
    auto label = static_cast<unsigned char>(text[at]);
    if (label == 0) return;
    node ^= label;
    if (node >= units_.size()) return;
    uint32_t unit = units_[node];
    if ((unit & (1u << 31 | 0xff)) != label) return;
    node ^= offset(unit);
    if (unit >> 8 & 1) {
      if (node >= units_.size()) return;
      if (!visit(at + 1, units_[node] & 0x7fffffff)) return;
    }
  }
}

Charsmap::Rule Charsmap::shortest(std::string_view text) const {
  Rule rule;
  walk(text, [&](size_t length, uint32_t value) {
    rule = {length, replacement(value)};
    return false;
  });
  return rule;
}

Charsmap::Rule Charsmap::longest(std::string_view text) const {
  Rule rule;
  walk(text, [&](size_t length, uint32_t value) {
    rule = {length, replacement(value)};
    return true;
  });
  return rule;
}

std::string decode_base64(std::string_view text, const std::string& where) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  signed char values[256];
  std::memset(values, -1, sizeof values);
  for (size_t digit = 0; digit < kDigits.size(); ++digit)
    values[static_cast<unsigned char>(kDigits[digit])] = static_cast<signed char>(digit);
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  std::string bytes;
  bytes.reserve(text.size() * 3 / 4);
  uint32_t bits = 0;
  int count = 0;
  for (char letter : text) {
    int value = values[static_cast<unsigned char>(letter)];
    if (value < 0)
      fail(ErrorKind::bad_checkpoint, "the file is damaged; get it again", "{}: is not base64", where);
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(bits >> count & 0xff);
    }
  }
  return bytes;
}

}  // namespace vlm
