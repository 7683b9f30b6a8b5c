// Walks a parsed template and writes its text.
#pragma once

#include <ctime>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"

namespace vlm::jinja {

using Clock = std::function<std::tm()>;

// The variables of a block. A macro keeps the scope in which it was defined alive.
struct Scope {
  std::vector<std::pair<std::string, Value>> variables;
  std::shared_ptr<Scope> parent;

  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};
using ScopePointer = std::shared_ptr<Scope>;

// `loop` inside a for: reads one item ahead only where the template asks for what comes.
struct LoopState {
  std::function<std::optional<Value>()> pull;  // the next item that passes the loop's `if`
  std::optional<Value> before, item, after;
  std::optional<int64_t> total;
  std::vector<Value> waiting;  // read ahead for `length`
  int64_t index0 = -1;
  int64_t level = 0;
  int nesting = 1;
  std::function<Value(const Value&)> recurse;

  std::optional<Value> advance();
  const std::optional<Value>& peek();
  int64_t length();
};

class Interpreter {
 public:
  struct Output {
    std::string text;
    std::vector<std::pair<size_t, size_t>> generated;  // byte ranges of {% generation %} blocks
  };

  Interpreter(const std::string& name, const Limits& limits, Clock clock);

  Output render(const Body& body, const nlohmann::ordered_json& context);

  Budget& budget() { return budget_; }
  const Clock& clock() const { return clock_; }
  Namespace* new_namespace();
  Value call(const Value& callee, const Arguments& arguments);
  Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments);
  bool apply_test(const std::string& name, const Value& value, const Arguments& arguments);
  std::string text_of(const Value& value) { return to_text(value, budget_); }

 private:
  enum class Flow { normal, broken, continued };
  class Depth;

  struct Macro {
    std::string name;
    const MacroSignature* signature;
    const Body* body;
    ScopePointer scope;
  };

  // --- statements (jinja_interpreter.cc)
  Flow run(const Body& body, const ScopePointer& scope);
  Flow run(const Statement& statement, const ScopePointer& scope);
  Flow run_if(const Statement& statement, const ScopePointer& scope);
  Flow run_for(const Statement& statement, const ScopePointer& scope);
  Flow run_for_over(const Statement& statement, const Value& iterable, const ScopePointer& scope,
                    int64_t level);
  std::shared_ptr<LoopState> start_loop(const Statement& statement, const Value& iterable,
                                        const ScopePointer& scope, int64_t level);
  void run_set(const Statement& statement, const ScopePointer& scope);
  void run_call_block(const Statement& statement, const ScopePointer& scope);
  void run_generation(const Statement& statement, const ScopePointer& scope);
  void run_with(const Statement& statement, const ScopePointer& scope);
  std::string capture(const Body& body, const ScopePointer& scope);
  void write(std::string_view text);
  void assign(const Expression& target, const Value& value, Scope& scope);
  Value make_macro(const std::string& name, const MacroSignature& signature, const Body& body,
                   const ScopePointer& scope);
  Value call_macro(const Macro& macro, const Arguments& arguments);

  // --- expressions (jinja_evaluate.cc)
  Value evaluate(const Expression& node, const ScopePointer& scope);
  Value evaluate_name(const Expression& node, const Scope& scope);
  Value evaluate_list(const Expression& node, const ScopePointer& scope);
  Value evaluate_dict(const Expression& node, const ScopePointer& scope);
  Value evaluate_item(const Expression& node, const ScopePointer& scope);
  Value evaluate_call(const Expression& node, const ScopePointer& scope, const Value* caller = nullptr);
  Value evaluate_filter(const Expression& node, const ScopePointer& scope, const Value* innermost = nullptr);
  Value evaluate_test(const Expression& node, const ScopePointer& scope);
  Value evaluate_logic(const Expression& node, const ScopePointer& scope);
  Value evaluate_operator(const Expression& node, const ScopePointer& scope);
  Value evaluate_compare(const Expression& node, const ScopePointer& scope);
  Arguments evaluate_arguments(const CallArguments& given, const ScopePointer& scope);

  const std::string& name_;
  Budget budget_;
  Clock clock_;
  Position position_;  // of what runs, for messages
  int depth_ = 0;
  std::string* out_ = nullptr;
  Output output_;
  // Owners of what values only point to; freed together when the rendering ends, so that cycles cannot leak.
  std::deque<Namespace> namespaces_;
  std::deque<Macro> macros_;
};

}  // namespace vlm::jinja
