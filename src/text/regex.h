// Regular expressions of tokenizer.json, which are written for Oniguruma, run by PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace vlm {

struct Span {
  size_t begin = 0;
  size_t end = 0;
  bool is_match = false;
};

class Regex {
 public:
  // `where` names the file and key in messages. Throws bad_checkpoint when the pattern is not understood.
  static std::shared_ptr<const Regex> compile(std::string_view pattern, const std::string& where);
  static std::shared_ptr<const Regex> literal(std::string_view text);  // matches this text
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Cuts `text`, which is UTF-8, into matches and what lies between them; together they cover it. Throws
  // bad_checkpoint when the pattern backtracks without end.
  std::vector<Span> find(std::string_view text) const;

 private:
  Regex() = default;
  bool search(std::string_view text, size_t from, size_t& begin, size_t& end) const;

  std::string where_;
  std::string literal_;
  void* code_ = nullptr;
};

// Oniguruma (Ruby) syntax to PCRE2's: \s, \w, \h, \v and \b differ in what they match, {n,m}+ is not
// possessive, classes nest and intersect, (?m) is PCRE2's (?s), ^ and $ match at every line.
std::string translate_pattern(std::string_view pattern, const std::string& where);

}  // namespace vlm
