// The part of the parser that reads expressions; precedence as in Jinja, loosest first:
// x if c else y, or, and, not, comparisons, + -, ~, * / // %, **, unary - +, | filters and is-tests, calls.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_ast.h"

namespace vlm::jinja {

class ExpressionParser {
 protected:
  ExpressionParser(std::string_view source, const std::string& name);

  ExpressionPointer parse_expression(bool with_conditional = true);
  // a, b, c: a tuple; without a comma the expression itself. `stop`: a name that ends it.
  ExpressionPointer parse_tuple(bool with_conditional = true, std::string_view stop = {},
                                bool in_parentheses = false);
  ExpressionPointer parse_target(bool with_namespace = false, std::string_view stop = {});
  ExpressionPointer parse_filters(ExpressionPointer input, bool first_without_bar);

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  void advance() { at_ += at_ + 1 < tokens_.size(); }
  bool skip_name(std::string_view word);
  bool skip_symbol(std::string_view symbol);
  void expect_symbol(std::string_view symbol);
  Token expect(TokenKind kind, std::string_view what);
  [[noreturn]] void problem(const Token& token, const std::string& message) const;

  std::string name_;
  // A filter or test that does not exist is an error at once, but inside an if only when it is reached.
  void refuse_unknown() const;
  int num_conditions_ = 0;
  std::vector<MacroSignature*> open_macros_;  // learn whether their bodies use caller, varargs, kwargs

 private:
  class Nesting;
  struct Unknown {
    Token token;
    std::string message;
  };

  void note_unknown(const Token& token, std::string message);
  ExpressionPointer make(ExpressionKind kind, const Token& token) const;
  ExpressionPointer adopt(ExpressionPointer parent, ExpressionPointer child) const;
  ExpressionPointer pair_of(ExpressionKind kind, const Token& token, ExpressionPointer left,
                            ExpressionPointer right) const;

  ExpressionPointer parse_conditional();
  ExpressionPointer parse_or();
  ExpressionPointer parse_and();
  ExpressionPointer parse_not();
  ExpressionPointer parse_compare();
  bool parse_comparison_operator(std::string& symbol);
  ExpressionPointer parse_sum();
  ExpressionPointer parse_concat();
  ExpressionPointer parse_product();
  ExpressionPointer parse_binary(ExpressionPointer (ExpressionParser::*operand)(),
                                 std::initializer_list<std::string_view> symbols);
  ExpressionPointer parse_power();
  ExpressionPointer parse_filtered() { return parse_unary(true); }
  ExpressionPointer parse_unary(bool with_filters);
  ExpressionPointer parse_primary();
  ExpressionPointer parse_name();
  ExpressionPointer parse_list();
  ExpressionPointer parse_dict();
  ExpressionPointer parse_postfix(ExpressionPointer node);
  ExpressionPointer parse_filters_and_tests(ExpressionPointer node);
  ExpressionPointer parse_subscript(ExpressionPointer node);
  ExpressionPointer parse_slice();
  ExpressionPointer parse_call(ExpressionPointer callee);
  ExpressionPointer parse_filter(ExpressionPointer input);
  ExpressionPointer parse_test(ExpressionPointer input);
  void parse_arguments(Expression& call);
  std::string dotted_name();

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
  std::optional<Unknown> unknown_;
};

}  // namespace vlm::jinja
