// The normalisation rules that SentencePiece compiles into a model: a double-array trie whose values point
// into a block of replacement strings.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vlm {

class Charsmap {
 public:
  Charsmap() = default;  // no rules
  Charsmap(std::string_view blob, const std::string& where);
  bool empty() const { return units_.empty(); }

  struct Rule {
    size_t length = 0;  // bytes of text that the rule replaces; 0: no rule
    std::string_view replacement;
  };
  Rule shortest(std::string_view text) const;  // the rule for the shortest beginning of `text`
  Rule longest(std::string_view text) const;

 private:
  template <typename Visit>
  void walk(std::string_view text, Visit&& visit) const;
  std::string_view replacement(uint32_t value) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

std::string decode_base64(std::string_view text, const std::string& where);

}  // namespace vlm
