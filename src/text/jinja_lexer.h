// A template's source as tokens, with the white space around tags already treated as trim_blocks and
// lstrip_blocks ask for (transformers sets both) and as the signs in {%- -%} {%+ +%} say.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vlm::jinja {

struct Position {
  int64_t line = 1;
  int64_t column = 1;  // in bytes
};

enum class TokenKind : uint8_t {
  data,
  variable_begin,
  variable_end,
  block_begin,
  block_end,
  name,
  string,
  integer,
  real,
  symbol,
  end,
};

struct Token {
  TokenKind kind = TokenKind::end;
  std::string text;  // data, name and symbol as written; a string without quotes and escapes
  int64_t integer = 0;
  double real = 0;
  Position position;

  bool is(TokenKind other, std::string_view word) const { return kind == other && text == word; }
  bool is_name(std::string_view word) const { return is(TokenKind::name, word); }
  bool is_symbol(std::string_view word) const { return is(TokenKind::symbol, word); }
  std::string describe() const;
};

// Throws bad_checkpoint for what is not a template, at its line and column. The last token is `end`.
std::vector<Token> tokenize(std::string_view source, const std::string& name);

[[noreturn]] void fail_syntax(const std::string& name, Position position, const std::string& message);

}  // namespace vlm::jinja
