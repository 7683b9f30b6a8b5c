// A parsed template. One struct for expressions and one for statements; `kind` says which fields count.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja_lexer.h"
#include "text/jinja_value.h"

namespace vlm::jinja {

struct Expression;
struct Statement;
using ExpressionPointer = std::unique_ptr<Expression>;
using Body = std::vector<Statement>;

using FilterFunction = Value (*)(Interpreter&, const Value&, const Arguments&);
using TestFunction = bool (*)(Interpreter&, const Value&, const Arguments&);

struct CallArguments {
  std::vector<ExpressionPointer> positional;
  std::vector<std::pair<std::string, ExpressionPointer>> named;
  ExpressionPointer star;         // *list
  ExpressionPointer double_star;  // **dict
};

enum class ExpressionKind : uint8_t {
  constant,     // value
  name,         // text
  list,         // children
  tuple,        // children
  dict,         // children: key, value, key, value, ...
  attribute,    // children[0].text
  item,         // children[0][children[1]]
  slice,        // children: begin, end, step; each may be null
  call,         // children[0](arguments)
  filter,       // children[0] | text(arguments); children[0] is null in blocks
  test,         // children[0] is text(arguments)
  negate,       // -children[0]
  positive,     // +children[0]
  logical_not,  // not children[0]
  logical_and,
  logical_or,
  binary,       // text is the operator
  concat,       // children joined as text
  compare,      // children[0] operators[0] children[1] operators[1] ...
  conditional,  // children[1] if children[0] else children[2]; the last may be null
};

struct Expression {
  ExpressionKind kind;
  Position position;
  int depth = 1;
  std::string text;
  Value value;
  std::vector<ExpressionPointer> children;
  std::vector<std::string> operators;
  CallArguments arguments;
  FilterFunction filter = nullptr;  // null: not known, an error once it is reached
  TestFunction test = nullptr;
};

struct MacroSignature {
  std::vector<std::string> parameters;
  std::vector<ExpressionPointer> defaults;  // of the last parameters
  bool uses_varargs = false;
  bool uses_kwargs = false;
  bool uses_caller = false;
};

enum class StatementKind : uint8_t {
  text,          // text
  print,         // expressions
  conditional,   // if / elif: expressions[i] goes with bodies[i]; one more body: else
  loop,          // for target in expressions[0] if expressions[1] (may be null): bodies[0] else bodies[1]
  set,           // target = expressions[0]
  set_block,     // target = bodies[0], through the filters of expressions[0] (may be null)
  macro,         // text, signature, bodies[0]
  call_block,    // expressions[0] is the call; signature, bodies[0]: the caller
  filter_block,  // expressions[0] over bodies[0]
  generation,    // bodies[0] is what the assistant said
  with,          // targets[i] = expressions[i] inside bodies[0]
  scope,         // bodies[0] in a scope of its own
  break_loop,
  continue_loop,
};

struct Statement {
  StatementKind kind;
  Position position;
  std::string text;
  std::vector<ExpressionPointer> targets;
  std::vector<ExpressionPointer> expressions;
  std::vector<Body> bodies;
  std::shared_ptr<MacroSignature> signature;
};

}  // namespace vlm::jinja
