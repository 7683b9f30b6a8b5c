#include "text/jinja_expressions.h"

#include <algorithm>

#include "text/jinja_library.h"

namespace vlm::jinja {

namespace {
constexpr int kMaxParserNesting = 100;  // of brackets, unary operators and blocks: the parser's own recursion
constexpr int kMaxTreeDepth =
    400;  // of the tree: the evaluator's recursion; a chain a + b + c ... is deep too
}  // namespace

class ExpressionParser::Nesting {
 public:
  explicit Nesting(ExpressionParser& parser) : parser_(parser) {
    if (++parser_.nesting_ > kMaxParserNesting)
      parser_.problem(parser_.current(), fmt::format("nested deeper than {} levels", kMaxParserNesting));
  }
  ~Nesting() { --parser_.nesting_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  ExpressionParser& parser_;
};

ExpressionParser::ExpressionParser(std::string_view source, const std::string& name)
    : name_(name), tokens_(tokenize(source, name_)) {}

void ExpressionParser::problem(const Token& token, const std::string& message) const {
  fail_syntax(name_, token.position, message);
}

void ExpressionParser::note_unknown(const Token& token, std::string message) {
  if (num_conditions_ == 0 && !unknown_.has_value()) unknown_ = Unknown{token, std::move(message)};
}

void ExpressionParser::refuse_unknown() const {
  if (unknown_.has_value()) problem(unknown_->token, unknown_->message);
}

bool ExpressionParser::skip_name(std::string_view word) {
  if (!current().is_name(word)) return false;
  advance();
  return true;
}

bool ExpressionParser::skip_symbol(std::string_view symbol) {
  if (!current().is_symbol(symbol)) return false;
  advance();
  return true;
}

void ExpressionParser::expect_symbol(std::string_view symbol) {
  if (!skip_symbol(symbol))
    problem(current(), fmt::format("expected '{}', found {}", symbol, current().describe()));
}

Token ExpressionParser::expect(TokenKind kind, std::string_view what) {
  Token token = current();
  if (token.kind != kind) problem(token, fmt::format("expected {}, found {}", what, token.describe()));
  advance();
  return token;
}

ExpressionPointer ExpressionParser::make(ExpressionKind kind, const Token& token) const {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->position = token.position;
  return node;
}

ExpressionPointer ExpressionParser::adopt(ExpressionPointer parent, ExpressionPointer child) const {
  if (child != nullptr) {
    parent->depth = std::max(parent->depth, child->depth + 1);
    if (parent->depth > kMaxTreeDepth)
      fail_syntax(name_, parent->position,
                  fmt::format("an expression of more than {} levels", kMaxTreeDepth));
  }
  parent->children.push_back(std::move(child));
  return parent;
}

ExpressionPointer ExpressionParser::pair_of(ExpressionKind kind, const Token& token, ExpressionPointer left,
                                            ExpressionPointer right) const {
  return adopt(adopt(make(kind, token), std::move(left)), std::move(right));
}

// --- from the loosest operator to the tightest

ExpressionPointer ExpressionParser::parse_expression(bool with_conditional) {
  Nesting nesting(*this);
  return with_conditional ? parse_conditional() : parse_or();
}

ExpressionPointer ExpressionParser::parse_conditional() {
  Token token = current();
  std::optional<Unknown> unknown_before = unknown_;
  ExpressionPointer value = parse_or();
  while (skip_name("if")) {
    ExpressionPointer condition = parse_or();
    ExpressionPointer otherwise = skip_name("else") ? parse_expression() : nullptr;
    value = adopt(pair_of(ExpressionKind::conditional, token, std::move(condition), std::move(value)),
                  std::move(otherwise));
    token = current();
    unknown_ = unknown_before;  // may not be reached
  }
  return value;
}

ExpressionPointer ExpressionParser::parse_or() {
  ExpressionPointer left = parse_and();
  for (Token token = current(); skip_name("or"); token = current())
    left = pair_of(ExpressionKind::logical_or, token, std::move(left), parse_and());
  return left;
}

ExpressionPointer ExpressionParser::parse_and() {
  ExpressionPointer left = parse_not();
  for (Token token = current(); skip_name("and"); token = current())
    left = pair_of(ExpressionKind::logical_and, token, std::move(left), parse_not());
  return left;
}

ExpressionPointer ExpressionParser::parse_not() {
  Token token = current();
  if (!skip_name("not")) return parse_compare();
  Nesting nesting(*this);
  return adopt(make(ExpressionKind::logical_not, token), parse_not());
}

bool ExpressionParser::parse_comparison_operator(std::string& symbol) {
  const Token& token = current();
  if (token.is_name("not") && ahead().is_name("in")) {
    symbol = "not in";
    advance();
    advance();
    return true;
  }
  for (std::string_view known : {"==", "!=", "<", "<=", ">", ">=", "in"}) {
    if (token.text != known || (token.kind != TokenKind::symbol && token.kind != TokenKind::name)) continue;
    symbol = known;
    advance();
    return true;
  }
  return false;
}

ExpressionPointer ExpressionParser::parse_compare() {
  Token token = current();
  ExpressionPointer first = parse_sum();
  std::string symbol;
  if (!parse_comparison_operator(symbol)) return first;
  ExpressionPointer node = adopt(make(ExpressionKind::compare, token), std::move(first));
  do {
    node->operators.push_back(symbol);
    node = adopt(std::move(node), parse_sum());
  } while (parse_comparison_operator(symbol));
  return node;
}

ExpressionPointer ExpressionParser::parse_binary(ExpressionPointer (ExpressionParser::*operand)(),
                                                 std::initializer_list<std::string_view> symbols) {
  ExpressionPointer left = (this->*operand)();
  for (;;) {
    Token token = current();
    if (token.kind != TokenKind::symbol ||
        std::find(symbols.begin(), symbols.end(), token.text) == symbols.end())
      return left;
    advance();
    left = pair_of(ExpressionKind::binary, token, std::move(left), (this->*operand)());
    left->text = token.text;
  }
}

ExpressionPointer ExpressionParser::parse_sum() {
  return parse_binary(&ExpressionParser::parse_concat, {"+", "-"});
}

ExpressionPointer ExpressionParser::parse_concat() {
  Token token = current();
  ExpressionPointer first = parse_product();
  if (!current().is_symbol("~")) return first;
  ExpressionPointer node = adopt(make(ExpressionKind::concat, token), std::move(first));
  while (skip_symbol("~")) node = adopt(std::move(node), parse_product());
  return node;
}

ExpressionPointer ExpressionParser::parse_product() {
  return parse_binary(&ExpressionParser::parse_power, {"*", "/", "//", "%"});
}

// Left to right, unlike Python's own **; so Jinja does.
ExpressionPointer ExpressionParser::parse_power() {
  return parse_binary(&ExpressionParser::parse_filtered, {"**"});
}

ExpressionPointer ExpressionParser::parse_unary(bool with_filters) {
  Token token = current();
  ExpressionPointer node;
  if (skip_symbol("-") || skip_symbol("+")) {
    Nesting nesting(*this);
    ExpressionKind kind = token.text == "-" ? ExpressionKind::negate : ExpressionKind::positive;
    node = adopt(make(kind, token), parse_unary(false));
  } else {
    node = parse_primary();
  }
  node = parse_postfix(std::move(node));
  return with_filters ? parse_filters_and_tests(std::move(node)) : std::move(node);
}

// --- operands

ExpressionPointer ExpressionParser::parse_name() {
  Token token = current();
  advance();
  bool is_true = token.text == "true" || token.text == "True";
  bool is_false = token.text == "false" || token.text == "False";
  bool is_none = token.text == "none" || token.text == "None";
  ExpressionPointer node =
      make(is_true || is_false || is_none ? ExpressionKind::constant : ExpressionKind::name, token);
  if (is_true || is_false) node->value = Value(is_true);
  if (is_none) node->value = None{};
  node->text = token.text;
  for (MacroSignature* macro : open_macros_) {
    macro->uses_caller |= token.text == "caller";
    macro->uses_varargs |= token.text == "varargs";
    macro->uses_kwargs |= token.text == "kwargs";
  }
  return node;
}

ExpressionPointer ExpressionParser::parse_primary() {
  Token token = current();
  if (token.kind == TokenKind::name) return parse_name();
  if (token.is_symbol("[")) return parse_list();
  if (token.is_symbol("{")) return parse_dict();
  if (skip_symbol("(")) {
    ExpressionPointer node = parse_tuple(true, {}, true);
    expect_symbol(")");
    return node;
  }
  ExpressionPointer node = make(ExpressionKind::constant, token);
  if (token.kind == TokenKind::string) {
    std::string text;  // neighbours are one string, as in Python
    for (; current().kind == TokenKind::string; advance()) text += current().text;
    node->value = Value(std::move(text));
    return node;
  }
  if (token.kind == TokenKind::integer)
    node->value = Value(token.integer);
  else if (token.kind == TokenKind::real)
    node->value = Value(token.real);
  else
    problem(token, fmt::format("expected an expression, found {}", token.describe()));
  advance();
  return node;
}

ExpressionPointer ExpressionParser::parse_tuple(bool with_conditional, std::string_view stop,
                                                bool in_parentheses) {
  Token token = current();
  std::vector<ExpressionPointer> items;
  bool is_tuple = false;
  auto at_end = [&] {
    return current().kind == TokenKind::variable_end || current().kind == TokenKind::block_end ||
           current().is_symbol(")") || (!stop.empty() && current().is_name(stop));
  };
  while (!at_end()) {
    items.push_back(parse_expression(with_conditional));
    if (!skip_symbol(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && items.size() == 1) return std::move(items.front());
  if (items.empty() && !in_parentheses)
    problem(current(), fmt::format("expected an expression, found {}", current().describe()));
  ExpressionPointer node = make(ExpressionKind::tuple, token);
  for (ExpressionPointer& item : items) node = adopt(std::move(node), std::move(item));
  return node;
}

ExpressionPointer ExpressionParser::parse_list() {
  ExpressionPointer node = make(ExpressionKind::list, current());
  expect_symbol("[");
  while (!current().is_symbol("]")) {
    if (!node->children.empty()) {
      expect_symbol(",");
      if (current().is_symbol("]")) break;
    }
    node = adopt(std::move(node), parse_expression());
  }
  expect_symbol("]");
  return node;
}

ExpressionPointer ExpressionParser::parse_dict() {
  ExpressionPointer node = make(ExpressionKind::dict, current());
  expect_symbol("{");
  while (!current().is_symbol("}")) {
    if (!node->children.empty()) {
      expect_symbol(",");
      if (current().is_symbol("}")) break;
    }
    node = adopt(std::move(node), parse_expression());
    expect_symbol(":");
    node = adopt(std::move(node), parse_expression());
  }
  expect_symbol("}");
  return node;
}

ExpressionPointer ExpressionParser::parse_target(bool with_namespace, std::string_view stop) {
  Token token = current();
  std::vector<ExpressionPointer> items;
  bool is_tuple = false;
  do {
    if (!items.empty() && (current().kind != TokenKind::name || (!stop.empty() && current().is_name(stop))))
      break;
    if (skip_symbol("(")) {
      Nesting nesting(*this);
      items.push_back(parse_target(with_namespace));
      expect_symbol(")");
    } else {
      if (current().kind != TokenKind::name)
        problem(current(), fmt::format("expected a name to assign to, found {}", current().describe()));
      ExpressionPointer item = parse_name();
      if (item->kind != ExpressionKind::name)
        problem(token, fmt::format("'{}' cannot be assigned to", item->text));
      if (with_namespace && current().is_symbol(".")) {
        ExpressionPointer attribute = make(ExpressionKind::attribute, current());
        advance();
        attribute->text = expect(TokenKind::name, "a name").text;
        item = adopt(std::move(attribute), std::move(item));
      }
      items.push_back(std::move(item));
    }
    is_tuple |= current().is_symbol(",");
  } while (skip_symbol(","));
  if (!is_tuple) return std::move(items.front());
  ExpressionPointer node = make(ExpressionKind::tuple, token);
  for (ExpressionPointer& item : items) node = adopt(std::move(node), std::move(item));
  return node;
}

// --- what follows an operand

ExpressionPointer ExpressionParser::parse_postfix(ExpressionPointer node) {
  for (;;) {
    if (current().is_symbol(".") || current().is_symbol("["))
      node = parse_subscript(std::move(node));
    else if (current().is_symbol("("))
      node = parse_call(std::move(node));
    else
      return node;
  }
}

ExpressionPointer ExpressionParser::parse_filters_and_tests(ExpressionPointer node) {
  for (;;) {
    if (skip_symbol("|"))
      node = parse_filter(std::move(node));
    else if (current().is_name("is"))
      node = parse_test(std::move(node));
    else if (current().is_symbol("("))
      node = parse_call(std::move(node));
    else
      return node;
  }
}

ExpressionPointer ExpressionParser::parse_subscript(ExpressionPointer node) {
  Token token = current();
  if (skip_symbol(".")) {
    Token name = current();
    if (name.kind == TokenKind::integer) {
      advance();
      ExpressionPointer index = make(ExpressionKind::constant, name);
      index->value = Value(name.integer);
      return pair_of(ExpressionKind::item, token, std::move(node), std::move(index));
    }
    ExpressionPointer attribute = adopt(make(ExpressionKind::attribute, token), std::move(node));
    attribute->text = expect(TokenKind::name, "a name or a number after '.'").text;
    return attribute;
  }
  expect_symbol("[");
  std::vector<ExpressionPointer> keys;
  do {
    if (current().is_symbol("]")) break;
    keys.push_back(parse_slice());
  } while (skip_symbol(","));
  if (keys.empty()) problem(current(), "expected an index, found ']'");
  expect_symbol("]");
  if (keys.size() == 1) return pair_of(ExpressionKind::item, token, std::move(node), std::move(keys.front()));
  ExpressionPointer tuple = make(ExpressionKind::tuple, token);
  for (ExpressionPointer& key : keys) tuple = adopt(std::move(tuple), std::move(key));
  return pair_of(ExpressionKind::item, token, std::move(node), std::move(tuple));
}

ExpressionPointer ExpressionParser::parse_slice() {
  Token token = current();
  ExpressionPointer first;
  if (!current().is_symbol(":")) {
    first = parse_expression();
    if (!current().is_symbol(":")) return first;
  }
  ExpressionPointer node = adopt(make(ExpressionKind::slice, token), std::move(first));
  while (node->children.size() < 3) {
    bool is_given = skip_symbol(":") && !current().is_symbol(":") && !current().is_symbol("]") &&
                    !current().is_symbol(",");
    node = adopt(std::move(node), is_given ? parse_expression() : nullptr);
  }
  return node;
}

void ExpressionParser::parse_arguments(Expression& call) {
  CallArguments& arguments = call.arguments;
  auto parse_value = [&] {
    ExpressionPointer value = parse_expression();
    call.depth = std::max(call.depth, value->depth + 1);
    if (call.depth > kMaxTreeDepth)
      fail_syntax(name_, call.position, fmt::format("an expression of more than {} levels", kMaxTreeDepth));
    return value;
  };
  expect_symbol("(");
  for (bool is_first = true; !current().is_symbol(")"); is_first = false) {
    if (!is_first) {
      expect_symbol(",");
      if (current().is_symbol(")")) break;
    }
    Token token = current();
    if (arguments.double_star != nullptr) problem(token, "an argument follows **");
    if (skip_symbol("**")) {
      arguments.double_star = parse_value();
    } else if (token.is_symbol("*") && arguments.star == nullptr) {
      advance();
      arguments.star = parse_value();
    } else if (token.kind == TokenKind::name && ahead().is_symbol("=")) {
      advance();
      advance();
      arguments.named.emplace_back(token.text, parse_value());
    } else {
      if (arguments.star != nullptr || !arguments.named.empty())
        problem(token, "an argument without a name follows * or a named one");
      arguments.positional.push_back(parse_value());
    }
  }
  expect_symbol(")");
}

ExpressionPointer ExpressionParser::parse_call(ExpressionPointer callee) {
  ExpressionPointer node = adopt(make(ExpressionKind::call, current()), std::move(callee));
  parse_arguments(*node);
  return node;
}

std::string ExpressionParser::dotted_name() {
  std::string name = expect(TokenKind::name, "a name").text;
  while (skip_symbol(".")) name += "." + expect(TokenKind::name, "a name").text;
  return name;
}

ExpressionPointer ExpressionParser::parse_filter(ExpressionPointer input) {
  Token token = current();
  ExpressionPointer node = adopt(make(ExpressionKind::filter, token), std::move(input));
  node->text = dotted_name();
  node->filter = find_filter(node->text);
  if (node->filter == nullptr) note_unknown(token, unknown_filter(node->text));
  if (current().is_symbol("(")) parse_arguments(*node);
  return node;
}

ExpressionPointer ExpressionParser::parse_filters(ExpressionPointer input, bool first_without_bar) {
  if (first_without_bar) input = parse_filter(std::move(input));
  while (skip_symbol("|")) input = parse_filter(std::move(input));
  return input;
}

ExpressionPointer ExpressionParser::parse_test(ExpressionPointer input) {
  Token token = current();
  advance();
  bool negated = skip_name("not");
  Token name = current();
  ExpressionPointer node = adopt(make(ExpressionKind::test, token), std::move(input));
  node->text = dotted_name();
  node->test = find_test(node->text);
  if (node->test == nullptr) note_unknown(name, unknown_test(node->text));
  const Token& next = current();
  bool starts_operand =
      next.kind == TokenKind::string || next.kind == TokenKind::integer || next.kind == TokenKind::real ||
      next.is_symbol("[") || next.is_symbol("{") ||
      (next.kind == TokenKind::name && next.text != "else" && next.text != "or" && next.text != "and");
  if (next.is_symbol("(")) {
    parse_arguments(*node);
  } else if (starts_operand) {
    if (next.is_name("is")) problem(next, "tests cannot be chained with 'is'");
    Nesting nesting(*this);
    ExpressionPointer argument = parse_postfix(parse_primary());
    node->depth = std::max(node->depth, argument->depth + 1);
    node->arguments.positional.push_back(std::move(argument));
  }
  if (!negated) return node;
  return adopt(make(ExpressionKind::logical_not, token), std::move(node));
}

}  // namespace vlm::jinja
