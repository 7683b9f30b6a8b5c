#include "text/jinja_interpreter.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "text/jinja_depth.h"
#include "text/jinja_library.h"

namespace vlm::jinja {

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get())
    for (const auto& [key, value] : scope->variables)
      if (key == name) return &value;
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  for (auto& [key, old] : variables) {
    if (key != name) continue;
    old = std::move(value);
    return;
  }
  variables.emplace_back(std::string(name), std::move(value));
}

namespace {
ScopePointer scope_below(const ScopePointer& parent) {
  auto scope = std::make_shared<Scope>();
  scope->parent = parent;
  return scope;
}
}  // namespace

// --- loop

std::optional<Value> LoopState::advance() {
  std::optional<Value> next;
  if (after.has_value()) {
    next = std::exchange(after, std::nullopt);
    if (!waiting.empty()) {
      after = std::move(waiting.front());
      waiting.erase(waiting.begin());
    }
  } else if (pull) {
    next = pull();
  }
  if (!next.has_value()) return next;
  before = std::exchange(item, next);
  ++index0;
  return next;
}

const std::optional<Value>& LoopState::peek() {
  if (!after.has_value() && pull) after = pull();
  return after;
}

int64_t LoopState::length() {
  if (!total.has_value()) {
    if (peek().has_value())
      while (std::optional<Value> next = pull()) waiting.push_back(std::move(*next));
    total = index0 + 1 + (after.has_value() ? 1 + static_cast<int64_t>(waiting.size()) : 0);
  }
  return *total;
}

// --- the whole

Interpreter::Interpreter(const std::string& name, const Limits& limits, Clock clock)
    : name_(name), budget_{limits}, clock_(std::move(clock)) {}

Interpreter::Output Interpreter::render(const Body& body, const nlohmann::ordered_json& context) {
  out_ = &output_.text;
  auto root = std::make_shared<Scope>();
  try {
    for (const auto& item : context.items()) root->set(item.key(), Value::from_json(item.value()));
    run(body, scope_below(root));
  } catch (const Error& error) {
    throw error.with_context(fmt::format("{}:{}:{}", name_, position_.line, position_.column));
  }
  return std::move(output_);
}

Namespace* Interpreter::new_namespace() {
  return &namespaces_.emplace_back();
}

void Interpreter::write(std::string_view text) {
  budget_.spend_text(text.size());
  budget_.check_bytes(static_cast<int64_t>(out_->size() + text.size()));
  *out_ += text;
}

std::string Interpreter::capture(const Body& body, const ScopePointer& scope) {
  std::string text;
  std::string* saved = std::exchange(out_, &text);
  run(body, scope);
  out_ = saved;
  return text;
}

// --- statements

Interpreter::Flow Interpreter::run(const Body& body, const ScopePointer& scope) {
  for (const Statement& statement : body) {
    Flow flow = run(statement, scope);
    if (flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run(const Statement& statement, const ScopePointer& scope) {
  Depth depth(*this);
  budget_.spend(1);
  position_ = statement.position;
  switch (statement.kind) {
    case StatementKind::text:
      write(statement.text);
      return Flow::normal;
    case StatementKind::print:
      for (const ExpressionPointer& expression : statement.expressions)
        write(text_of(evaluate(*expression, scope)));
      return Flow::normal;
    case StatementKind::conditional:
      return run_if(statement, scope);
    case StatementKind::loop:
      return run_for(statement, scope);
    case StatementKind::set:
    case StatementKind::set_block:
      run_set(statement, scope);
      return Flow::normal;
    case StatementKind::macro:
      scope->set(statement.text,
                 make_macro(statement.text, *statement.signature, statement.bodies[0], scope));
      return Flow::normal;
    case StatementKind::call_block:
      run_call_block(statement, scope);
      return Flow::normal;
    case StatementKind::filter_block: {
      Value text(capture(statement.bodies[0], scope_below(scope)));
      write(text_of(evaluate_filter(*statement.expressions[0], scope, &text)));
      return Flow::normal;
    }
    case StatementKind::generation:
      run_generation(statement, scope);
      return Flow::normal;
    case StatementKind::with:
      run_with(statement, scope);
      return Flow::normal;
    case StatementKind::scope:
      return run(statement.bodies[0], scope_below(scope));
    case StatementKind::break_loop:
      return Flow::broken;
    case StatementKind::continue_loop:
      return Flow::continued;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_if(const Statement& statement, const ScopePointer& scope) {
  for (size_t idx = 0; idx < statement.expressions.size(); ++idx)
    if (evaluate(*statement.expressions[idx], scope).truth()) return run(statement.bodies[idx], scope);
  if (statement.bodies.size() > statement.expressions.size()) return run(statement.bodies.back(), scope);
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_for(const Statement& statement, const ScopePointer& scope) {
  return run_for_over(statement, evaluate(*statement.expressions[0], scope), scope, 1);
}

std::shared_ptr<LoopState> Interpreter::start_loop(const Statement& statement, const Value& iterable,
                                                   const ScopePointer& scope, int64_t level) {
  auto loop = std::make_shared<LoopState>();
  loop->level = level;
  Value items = Value::sequence(items_of(iterable, budget_));
  loop->nesting = items.nesting();
  const Expression* condition = statement.expressions[1].get();
  loop->pull = [this, items, condition, &statement, scope,
                next = size_t{0}]() mutable -> std::optional<Value> {
    const std::vector<Value>& list = items.as_sequence()->items;
    while (next < list.size()) {
      const Value& item = list[next++];
      if (condition == nullptr) return item;
      ScopePointer inner = scope_below(scope);
      assign(*statement.targets[0], item, *inner);
      if (evaluate(*condition, inner).truth()) return item;
    }
    return std::nullopt;
  };
  if (statement.text == "recursive") {
    loop->recurse = [this, &statement, scope, level](const Value& below) {
      std::string text;
      std::string* saved = std::exchange(out_, &text);
      run_for_over(statement, below, scope, level + 1);
      out_ = saved;
      return Value(std::move(text));
    };
  }
  return loop;
}

Interpreter::Flow Interpreter::run_for_over(const Statement& statement, const Value& iterable,
                                            const ScopePointer& scope, int64_t level) {
  Depth depth(*this);
  std::shared_ptr<LoopState> loop = start_loop(statement, iterable, scope, level);
  // As in Jinja, `else` runs unless an iteration reached its end: after a break in the first one it does run.
  bool has_finished_one = false;
  while (std::optional<Value> item = loop->advance()) {
    budget_.spend(1);
    ScopePointer inner = scope_below(scope);
    inner->set("loop", Value(loop));
    assign(*statement.targets[0], *item, *inner);
    Flow flow = run(statement.bodies[0], inner);
    if (flow == Flow::broken) break;
    has_finished_one |= flow == Flow::normal;
  }
  loop->pull = nullptr;  // the loop object may outlive the loop, in a namespace
  loop->recurse = nullptr;
  if (!has_finished_one && statement.bodies.size() > 1) return run(statement.bodies[1], scope_below(scope));
  return Flow::normal;
}

void Interpreter::run_set(const Statement& statement, const ScopePointer& scope) {
  if (statement.kind == StatementKind::set) {
    assign(*statement.targets[0], evaluate(*statement.expressions[0], scope), *scope);
    return;
  }
  Value value(capture(statement.bodies[0], scope_below(scope)));
  if (statement.expressions[0] != nullptr) value = evaluate_filter(*statement.expressions[0], scope, &value);
  assign(*statement.targets[0], value, *scope);
}

void Interpreter::assign(const Expression& target, const Value& value, Scope& scope) {
  if (target.kind == ExpressionKind::name) {
    scope.set(target.text, value);
  } else if (target.kind == ExpressionKind::attribute) {
    const std::string& name = target.children[0]->text;
    const Value* object = scope.find(name);
    if (object == nullptr || object->as_namespace() == nullptr)
      refuse("attributes can be set on a namespace only, '{}' is {}", name,
             object == nullptr ? "undefined" : object->type_name());
    object->as_namespace()->set(target.text, value);
  } else {
    std::vector<Value> items = items_of(value, budget_);
    if (items.size() != target.children.size())
      refuse("{} values cannot be unpacked into {} names", items.size(), target.children.size());
    for (size_t idx = 0; idx < items.size(); ++idx) assign(*target.children[idx], items[idx], scope);
  }
}

void Interpreter::run_with(const Statement& statement, const ScopePointer& scope) {
  ScopePointer inner = scope_below(scope);
  for (size_t idx = 0; idx < statement.targets.size(); ++idx)
    assign(*statement.targets[idx], evaluate(*statement.expressions[idx], scope), *inner);
  run(statement.bodies[0], inner);
}

void Interpreter::run_generation(const Statement& statement, const ScopePointer& scope) {
  std::string text = capture(statement.bodies[0], scope_below(scope));
  if (out_ == &output_.text) output_.generated.emplace_back(out_->size(), out_->size() + text.size());
  write(text);
}

// --- macros

void Interpreter::run_call_block(const Statement& statement, const ScopePointer& scope) {
  Value caller = make_macro("caller", *statement.signature, statement.bodies[0], scope);
  write(text_of(evaluate_call(*statement.expressions[0], scope, &caller)));
}

Value Interpreter::make_macro(const std::string& name, const MacroSignature& signature, const Body& body,
                              const ScopePointer& scope) {
  const Macro& macro = macros_.emplace_back(Macro{name, &signature, &body, scope});
  return Value::callable(fmt::format("Macro '{}'", name),
                         [&macro](Interpreter& interpreter, const Arguments& arguments) {
                           return interpreter.call_macro(macro, arguments);
                         });
}

Value Interpreter::call_macro(const Macro& macro, const Arguments& arguments) {
  Depth depth(*this);
  const MacroSignature& signature = *macro.signature;
  ScopePointer scope = scope_below(macro.scope);
  size_t num_given = std::min(arguments.positional.size(), signature.parameters.size());
  std::vector<Value> extra(arguments.positional.begin() + static_cast<int64_t>(num_given),
                           arguments.positional.end());
  if (!extra.empty() && !signature.uses_varargs)
    refuse("macro '{}' takes at most {} arguments, {} were given", macro.name, signature.parameters.size(),
           arguments.positional.size());
  std::vector<std::pair<Value, Value>> others;
  Value caller = Value::undefined("no caller was given");
  std::vector<const Value*> named(signature.parameters.size(), nullptr);
  for (const auto& [name, value] : arguments.named) {
    auto found = std::find(signature.parameters.begin() + static_cast<int64_t>(num_given),
                           signature.parameters.end(), name);
    if (found != signature.parameters.end())
      named[static_cast<size_t>(found - signature.parameters.begin())] = &value;
    else if (name == "caller" && signature.uses_caller)
      caller = value;
    else if (signature.uses_kwargs)
      others.emplace_back(Value(name), value);
    else
      refuse("macro '{}' has no parameter '{}'", macro.name, name);
  }
  if (signature.uses_caller) scope->set("caller", caller);
  if (signature.uses_kwargs) scope->set("kwargs", dict_from_pairs(std::move(others), budget_));
  if (signature.uses_varargs) scope->set("varargs", Value::sequence(std::move(extra), Sequence::Form::tuple));
  size_t first_default = signature.parameters.size() - signature.defaults.size();
  for (size_t idx = 0; idx < signature.parameters.size(); ++idx) {
    const std::string& name = signature.parameters[idx];
    if (idx < num_given)
      scope->set(name, arguments.positional[idx]);
    else if (named[idx] != nullptr)
      scope->set(name, *named[idx]);
    else if (idx >= first_default)
      scope->set(name, evaluate(*signature.defaults[idx - first_default], scope));
    else
      scope->set(name, Value::undefined(fmt::format("parameter '{}' was not provided", name)));
  }
  return Value(capture(*macro.body, scope));
}

}  // namespace vlm::jinja
