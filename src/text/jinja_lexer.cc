#include "text/jinja_lexer.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "text/jinja_text.h"

namespace vlm::jinja {

void fail_syntax(const std::string& name, Position position, const std::string& message) {
  fail(ErrorKind::bad_checkpoint,
       "the chat template is damaged or uses what Jinja does not know; get the file again", "{}:{}:{}: {}",
       name, position.line, position.column, message);
}

std::string Token::describe() const {
  switch (kind) {
    case TokenKind::data:
      return "text";
    case TokenKind::variable_begin:
      return "{{";
    case TokenKind::variable_end:
      return "}}";
    case TokenKind::block_begin:
      return "{%";
    case TokenKind::block_end:
      return "%}";
    case TokenKind::end:
      return "the end of the template";
    case TokenKind::integer:
    case TokenKind::real:
      return "a number";
    case TokenKind::string:
      return "a string";
    default:
      return "'" + text + "'";
  }
}

namespace {

constexpr std::string_view kSymbols[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                         "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                         ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

bool is_name_byte(char letter) {
  return std::isalnum(static_cast<unsigned char>(letter)) || letter == '_' ||
         static_cast<signed char>(letter) < 0;
}
bool is_digit_byte(char letter) {
  return letter >= '0' && letter <= '9';
}

// \r\n and \r count as \n; one newline at the end is not part of the template.
std::string normalized(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t at = 0; at < source.size(); ++at) {
    if (source[at] == '\r' && at + 1 < source.size() && source[at + 1] == '\n') continue;
    text += source[at] == '\r' ? '\n' : source[at];
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

class Lexer {
 public:
  Lexer(std::string_view source, const std::string& name) : source_(normalized(source)), name_(name) {
    line_starts_.push_back(0);
    for (size_t at = 0; at < source_.size(); ++at)
      if (source_[at] == '\n') line_starts_.push_back(at + 1);
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) scan_data();
    add(TokenKind::end, at_);
    return std::move(tokens_);
  }

 private:
  Position position(size_t offset) const {
    auto next = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
    auto line = static_cast<size_t>(next - line_starts_.begin());
    return {static_cast<int64_t>(line), static_cast<int64_t>(offset - line_starts_[line - 1]) + 1};
  }
  [[noreturn]] void problem(size_t offset, const std::string& message) const {
    fail_syntax(name_, position(offset), message);
  }
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }
  bool starts(std::string_view word, size_t offset) const {
    return source_.compare(offset, word.size(), word) == 0;
  }
  void skip_space() {
    while (at_ < source_.size()) {
      CodePoint letter = code_point_at(source_, at_);
      if (!is_space(letter.value)) return;
      at_ += letter.num_bytes;
    }
  }
  Token& add(TokenKind kind, size_t offset, std::string text = {}) {
    Token token;
    token.kind = kind;
    token.text = std::move(text);
    token.position = position(offset);
    tokens_.push_back(std::move(token));
    return tokens_.back();
  }

  // The text before a tag, with the white space gone that the tag's sign or lstrip_blocks takes.
  void add_data(size_t begin, size_t end, char sign, bool is_variable) {
    std::string_view text = std::string_view(source_).substr(begin, end - begin);
    if (sign == '-') {
      text = strip_right(text);
    } else if (sign != '+' && !is_variable) {
      size_t line = text.rfind('\n') + 1;  // npos + 1 is 0
      if ((line > 0 || line_starting_) && strip(text.substr(line)).empty()) text = text.substr(0, line);
    }
    if (!text.empty()) add(TokenKind::data, begin, std::string(text));
  }

  // After a tag: "-" takes all white space, trim_blocks one newline.
  void finish_tag(bool strips, bool trims) {
    if (strips)
      skip_space();
    else if (trims && peek() == '\n')
      ++at_;
    line_starting_ = at_ > 0 && source_[at_ - 1] == '\n';
  }

  void scan_data() {
    size_t begin = at_;
    size_t open = begin;
    do {
      open = source_.find('{', open);
      if (open == std::string::npos || open + 1 >= source_.size()) {
        add(TokenKind::data, begin, source_.substr(begin));
        at_ = source_.size();
        return;
      }
      ++open;
    } while (source_[open] != '%' && source_[open] != '{' && source_[open] != '#');
    --open;
    char kind = source_[open + 1];
    at_ = open + 2;
    char sign = peek() == '-' || peek() == '+' ? source_[at_++] : '\0';
    add_data(begin, open, sign, kind == '{');
    if (kind == '#')
      skip_comment(open);
    else if (kind == '%' && at_raw())
      scan_raw(open);
    else
      scan_tag(open, kind == '{');
  }

  void skip_comment(size_t open) {
    size_t close = source_.find("#}", at_);
    if (close == std::string::npos) problem(open, "the comment {# is not closed by #}");
    char sign = close > at_ ? source_[close - 1] : '\0';
    at_ = close + 2;
    finish_tag(sign == '-', sign != '+');
  }

  // At "raw %}"? Then the position moves behind it.
  bool at_raw() {
    size_t saved = at_;
    skip_space();
    if (starts("raw", at_)) {
      at_ += 3;
      skip_space();
      bool strips = peek() == '-';
      if (starts("%}", at_ + strips)) {
        at_ += 2 + strips;
        finish_tag(strips, false);
        return true;
      }
    }
    at_ = saved;
    return false;
  }

  void scan_raw(size_t open) {
    size_t begin = at_;
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 2)) {
      at_ = tag + 2;
      char sign = peek() == '-' || peek() == '+' ? source_[at_++] : '\0';
      skip_space();
      if (!starts("endraw", at_)) continue;
      at_ += 6;
      skip_space();
      char end_sign = peek() == '-' || peek() == '+' ? source_[at_] : '\0';
      if (!starts("%}", at_ + (end_sign != '\0'))) continue;
      add_data(begin, tag, sign, false);
      at_ += 2 + (end_sign != '\0');
      finish_tag(end_sign == '-', end_sign == '\0');
      return;
    }
    problem(open, "{% raw %} is not closed by {% endraw %}");
  }

  void scan_tag(size_t open, bool is_variable) {
    std::string_view close = is_variable ? "}}" : "%}";
    add(is_variable ? TokenKind::variable_begin : TokenKind::block_begin, open);
    std::string brackets;
    for (;;) {
      skip_space();
      if (at_ >= source_.size())
        problem(open, fmt::format("{} is not closed by {}", is_variable ? "{{" : "{%", close));
      bool has_sign = peek() == '-' || (peek() == '+' && !is_variable);
      if (brackets.empty() && (starts(close, at_) || (has_sign && starts(close, at_ + 1)))) {
        char sign = has_sign ? peek() : '\0';
        add(is_variable ? TokenKind::variable_end : TokenKind::block_end, at_);
        at_ += 2 + has_sign;
        finish_tag(sign == '-', !is_variable && sign != '+');
        return;
      }
      scan_token(brackets);
    }
  }

  void scan_token(std::string& brackets) {
    char letter = peek();
    if (is_digit_byte(letter)) return scan_number();
    if (letter == '\'' || letter == '"') return scan_string(letter);
    if (is_name_byte(letter)) {
      size_t begin = at_;
      while (at_ < source_.size() && is_name_byte(source_[at_])) ++at_;
      add(TokenKind::name, begin, source_.substr(begin, at_ - begin));
      return;
    }
    for (std::string_view symbol : kSymbols) {
      if (!starts(symbol, at_)) continue;
      balance(letter, brackets);
      add(TokenKind::symbol, at_, std::string(symbol));
      at_ += symbol.size();
      return;
    }
    problem(at_, fmt::format("unexpected character {}", quotation(std::string_view(source_).substr(at_, 1))));
  }

  void balance(char letter, std::string& brackets) {
    if (letter == '(') brackets += ')';
    if (letter == '[') brackets += ']';
    if (letter == '{') brackets += '}';
    if (letter != ')' && letter != ']' && letter != '}') return;
    if (brackets.empty()) problem(at_, fmt::format("unexpected '{}'", letter));
    if (brackets.back() != letter)
      problem(at_, fmt::format("unexpected '{}', expected '{}'", letter, brackets.back()));
    brackets.pop_back();
  }

  void skip_digits() {
    while (is_digit_byte(peek()) || (peek() == '_' && is_digit_byte(peek(1)))) ++at_;
  }

  void scan_number() {
    size_t begin = at_;
    char mark = static_cast<char>(peek(1) | 0x20);
    bool has_base = peek() == '0' && (mark == 'x' || mark == 'o' || mark == 'b');
    if (has_base) {
      at_ += 2;
      while (std::isalnum(static_cast<unsigned char>(peek())) || peek() == '_') ++at_;
    } else {
      skip_digits();
    }
    bool is_real = false;
    if (!has_base && (begin == 0 || source_[begin - 1] != '.')) {
      if (peek() == '.' && is_digit_byte(peek(1))) {
        is_real = true;
        ++at_;
        skip_digits();
      }
      size_t sign = peek(1) == '+' || peek(1) == '-';
      if ((peek() | 0x20) == 'e' && is_digit_byte(peek(1 + sign))) {
        is_real = true;
        at_ += 1 + sign;
        skip_digits();
      }
    }
    std::string text = source_.substr(begin, at_ - begin);
    Token& token = add(is_real ? TokenKind::real : TokenKind::integer, begin, text);
    bool good = is_real ? parse_float(text, token.real) : parse_integer(text, 0, token.integer);
    if (!good) problem(begin, fmt::format("{} is not a number", text));
  }

  void scan_string(char quote) {
    size_t begin = at_++;
    std::string text;
    for (;;) {
      if (at_ >= source_.size()) problem(begin, "the string is not closed");
      char letter = source_[at_++];
      if (letter == quote) break;
      if (letter == '\\')
        scan_escape(begin, text);
      else
        text += letter;
    }
    add(TokenKind::string, begin, std::move(text));
  }

  uint32_t hexadecimal(size_t begin, int num_digits) {
    uint32_t value = 0;
    for (; num_digits > 0; --num_digits, ++at_) {
      if (!std::isxdigit(static_cast<unsigned char>(peek())))
        problem(begin, "an escape lacks hexadecimal digits");
      char digit = peek();
      value =
          value * 16 + static_cast<uint32_t>(is_digit_byte(digit) ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    return value;
  }

  void scan_escape(size_t begin, std::string& text) {
    static constexpr std::string_view kLetters = "\\'\"abfnrtv";
    static constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    char letter = peek();
    if (letter == '\0') problem(begin, "the string is not closed");
    ++at_;
    if (size_t idx = kLetters.find(letter); idx != std::string_view::npos) {
      text += kMeanings[idx];
    } else if (letter == 'x' || letter == 'u' || letter == 'U') {
      uint32_t value = hexadecimal(begin, letter == 'x' ? 2 : letter == 'u' ? 4 : 8);
      if (value >= 0xd800 && value < 0xdc00 && peek() == '\\' && peek(1) == 'u') {  // a pair of UTF-16
        at_ += 2;
        value = 0x10000 + ((value - 0xd800) << 10) + ((hexadecimal(begin, 4) - 0xdc00) & 0x3ff);
      }
      if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        problem(begin, "an escape is not a character");
      append_code_point(text, value);
    } else if (letter >= '0' && letter <= '7') {
      auto value = static_cast<uint32_t>(letter - '0');
      for (int count = 0; count < 2 && peek() >= '0' && peek() <= '7'; ++count)
        value = value * 8 + static_cast<uint32_t>(source_[at_++] - '0');
      append_code_point(text, value);
    } else if (letter != '\n') {  // an unknown escape stays as written
      (text += '\\') += letter;
    }
  }

  std::string source_;
  const std::string& name_;
  std::vector<size_t> line_starts_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  bool line_starting_ = true;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& name) {
  return Lexer(source, name).run();
}

}  // namespace vlm::jinja
