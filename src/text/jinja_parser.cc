#include "text/jinja_parser.h"

#include <algorithm>

#include "text/jinja_expressions.h"

namespace vlm::jinja {

namespace {

constexpr int kMaxBlockNesting = 60;

using Names = std::initializer_list<std::string_view>;

class Parser : private ExpressionParser {
 public:
  Parser(std::string_view source, const std::string& name) : ExpressionParser(source, name) {}

  Body run() { return parse_body(nullptr, {}); }

 private:
  // Reads until a tag that is one of `ends`; stops at its name.
  Body parse_body(const Token* opened, Names ends) {
    Body body;
    for (;;) {
      refuse_unknown();
      Token token = current();
      if (token.kind == TokenKind::end) {
        if (opened != nullptr)
          problem(*opened, fmt::format("{{% {} %}} is not closed by {}", opened->text, listed(ends)));
        return body;
      }
      if (token.kind == TokenKind::data) {
        advance();
        body.push_back(make(StatementKind::text, token));
        body.back().text = token.text;
      } else if (token.kind == TokenKind::variable_begin) {
        advance();
        body.push_back(make(StatementKind::print, token));
        body.back().expressions.push_back(parse_tuple());
        expect(TokenKind::variable_end, "}}");
      } else {
        const Token& tag = ahead();
        bool is_end =
            tag.kind == TokenKind::name && std::find(ends.begin(), ends.end(), tag.text) != ends.end();
        if (is_end) {
          advance();
          return body;
        }
        if (tag.kind == TokenKind::name &&
            (tag.text.starts_with("end") || tag.text == "else" || tag.text == "elif"))
          problem(tag, fmt::format("{{% {} %}} has no block to belong to{}", tag.text,
                                   ends.size() == 0 ? "" : "; expected " + listed(ends)));
        advance();
        body.push_back(parse_statement());
        expect(TokenKind::block_end, "%}");
      }
    }
  }

  static std::string listed(Names names) {
    std::string text;
    for (std::string_view name : names) text += fmt::format("{}{{% {} %}}", text.empty() ? "" : " or ", name);
    return text;
  }

  static Statement make(StatementKind kind, const Token& token) {
    Statement statement;
    statement.kind = kind;
    statement.position = token.position;
    return statement;
  }

  // The body of a block with its closing tag's name.
  Body parse_block(const Token& opened, Names ends) {
    skip_symbol(":");
    expect(TokenKind::block_end, "%}");
    if (++num_blocks_ > kMaxBlockNesting)
      problem(opened, fmt::format("blocks nested deeper than {} levels", kMaxBlockNesting));
    Body body = parse_body(&opened, ends);
    --num_blocks_;
    return body;
  }
  Body parse_block_to_end(const Token& opened, std::string_view end) {
    Body body = parse_block(opened, {end});
    advance();
    return body;
  }

  Statement parse_statement() {
    Token tag = expect(TokenKind::name, "the name of a tag");
    if (tag.text == "if") return parse_if(tag);
    if (tag.text == "for") return parse_for(tag);
    if (tag.text == "set") return parse_set(tag);
    if (tag.text == "macro") return parse_macro(tag);
    if (tag.text == "call") return parse_call_block(tag);
    if (tag.text == "filter") return parse_filter_block(tag);
    if (tag.text == "with") return parse_with(tag);
    if (tag.text == "print") return parse_print(tag);
    if (tag.text == "generation" || tag.text == "autoescape" || tag.text == "block")
      return parse_plain_block(tag);
    if (tag.text == "break" || tag.text == "continue") {
      if (num_loops_ == 0) problem(tag, fmt::format("{{% {} %}} outside of a loop", tag.text));
      return make(tag.text == "break" ? StatementKind::break_loop : StatementKind::continue_loop, tag);
    }
    if (tag.text == "include" || tag.text == "import" || tag.text == "from" || tag.text == "extends")
      problem(tag, fmt::format("{{% {} %}} needs other templates; a chat template stands alone", tag.text));
    std::string near = nearest_word(tag.text, {"if", "for", "set", "macro", "call", "filter", "with", "print",
                                               "generation", "block", "break", "continue", "raw"});
    problem(tag, fmt::format("there is no tag '{}'{}", tag.text,
                             near.empty() ? "" : "; the nearest is '" + near + "'"));
  }

  Statement parse_if(const Token& tag) {
    Statement statement = make(StatementKind::conditional, tag);
    ++num_conditions_;
    for (;;) {
      statement.expressions.push_back(parse_tuple(false));
      statement.bodies.push_back(parse_block(tag, {"elif", "else", "endif"}));
      Token end = current();
      advance();
      if (end.text == "elif") continue;
      if (end.text == "else") statement.bodies.push_back(parse_block_to_end(tag, "endif"));
      --num_conditions_;
      return statement;
    }
  }

  Statement parse_for(const Token& tag) {
    Statement statement = make(StatementKind::loop, tag);
    statement.targets.push_back(parse_target(false, "in"));
    if (!skip_name("in")) problem(current(), fmt::format("expected 'in', found {}", current().describe()));
    statement.expressions.push_back(parse_tuple(false, "recursive"));
    statement.expressions.push_back(skip_name("if") ? parse_expression() : nullptr);
    if (skip_name("recursive")) statement.text = "recursive";
    ++num_loops_;
    statement.bodies.push_back(parse_block(tag, {"endfor", "else"}));
    --num_loops_;
    bool has_else = current().text == "else";
    advance();
    if (has_else) statement.bodies.push_back(parse_block_to_end(tag, "endfor"));
    return statement;
  }

  Statement parse_set(const Token& tag) {
    Statement statement = make(StatementKind::set, tag);
    statement.targets.push_back(parse_target(true));
    if (skip_symbol("=")) {
      statement.expressions.push_back(parse_tuple());
      return statement;
    }
    statement.kind = StatementKind::set_block;
    statement.expressions.push_back(parse_filters(nullptr, false));
    statement.bodies.push_back(parse_block_to_end(tag, "endset"));
    return statement;
  }

  // A body that becomes a function: a loop outside of it cannot be left from inside.
  Body parse_function_body(const Token& tag, std::string_view end) {
    int saved = std::exchange(num_loops_, 0);
    Body body = parse_block_to_end(tag, end);
    num_loops_ = saved;
    return body;
  }

  void parse_signature(MacroSignature& signature) {
    expect_symbol("(");
    for (bool is_first = true; !current().is_symbol(")"); is_first = false) {
      if (!is_first) expect_symbol(",");
      Token parameter = expect(TokenKind::name, "the name of a parameter");
      signature.parameters.push_back(parameter.text);
      if (skip_symbol("="))
        signature.defaults.push_back(parse_expression());
      else if (!signature.defaults.empty())
        problem(parameter,
                fmt::format("parameter '{}' has no default but follows one that has", parameter.text));
    }
    expect_symbol(")");
  }

  Statement parse_macro(const Token& tag) {
    Statement statement = make(StatementKind::macro, tag);
    statement.text = expect(TokenKind::name, "the name of the macro").text;
    statement.signature = std::make_shared<MacroSignature>();
    open_macros_.push_back(statement.signature.get());
    parse_signature(*statement.signature);
    statement.bodies.push_back(parse_function_body(tag, "endmacro"));
    open_macros_.pop_back();
    return statement;
  }

  Statement parse_call_block(const Token& tag) {
    Statement statement = make(StatementKind::call_block, tag);
    statement.signature = std::make_shared<MacroSignature>();
    if (current().is_symbol("(")) parse_signature(*statement.signature);
    statement.expressions.push_back(parse_expression());
    if (statement.expressions.front()->kind != ExpressionKind::call)
      problem(tag, "{% call %} needs the call of a macro");
    statement.bodies.push_back(parse_function_body(tag, "endcall"));
    return statement;
  }

  Statement parse_filter_block(const Token& tag) {
    Statement statement = make(StatementKind::filter_block, tag);
    statement.expressions.push_back(parse_filters(nullptr, true));
    statement.bodies.push_back(parse_block_to_end(tag, "endfilter"));
    return statement;
  }

  Statement parse_with(const Token& tag) {
    Statement statement = make(StatementKind::with, tag);
    while (current().kind != TokenKind::block_end) {
      if (!statement.targets.empty()) expect_symbol(",");
      statement.targets.push_back(parse_target(false, "="));
      expect_symbol("=");
      statement.expressions.push_back(parse_expression());
    }
    statement.bodies.push_back(parse_block_to_end(tag, "endwith"));
    return statement;
  }

  Statement parse_print(const Token& tag) {
    Statement statement = make(StatementKind::print, tag);
    do {
      statement.expressions.push_back(parse_expression());
    } while (skip_symbol(","));
    return statement;
  }

  // Nothing derives from a chat template and nothing is escaped in it: these only make a scope.
  Statement parse_plain_block(const Token& tag) {
    bool is_generation = tag.text == "generation";
    Statement statement = make(is_generation ? StatementKind::generation : StatementKind::scope, tag);
    if (tag.text == "autoescape") parse_expression();
    if (tag.text == "block") expect(TokenKind::name, "the name of the block");
    statement.bodies.push_back(parse_function_body(tag, "end" + tag.text));
    if (tag.text == "block" && current().kind == TokenKind::name) advance();
    return statement;
  }

  int num_loops_ = 0;
  int num_blocks_ = 0;
};

}  // namespace

Body parse_template(std::string_view source, const std::string& name) {
  return Parser(source, name).run();
}

}  // namespace vlm::jinja
