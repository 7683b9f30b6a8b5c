#include <algorithm>

#include "text/jinja_depth.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_library.h"

namespace vlm::jinja {

Value Interpreter::evaluate(const Expression& node, const ScopePointer& scope) {
  Depth depth(*this);
  budget_.spend(1);
  position_ = node.position;
  switch (node.kind) {
    case ExpressionKind::constant:
      return node.value;
    case ExpressionKind::name:
      return evaluate_name(node, *scope);
    case ExpressionKind::list:
    case ExpressionKind::tuple:
      return evaluate_list(node, scope);
    case ExpressionKind::dict:
      return evaluate_dict(node, scope);
    case ExpressionKind::attribute: {
      Value object = evaluate(*node.children[0], scope);
      position_ = node.position;
      return get_attribute(*this, object, node.text);
    }
    case ExpressionKind::item:
      return evaluate_item(node, scope);
    case ExpressionKind::slice:
      refuse("a slice is possible with one index only");
    case ExpressionKind::call:
      return evaluate_call(node, scope);
    case ExpressionKind::filter:
      return evaluate_filter(node, scope);
    case ExpressionKind::test:
      return evaluate_test(node, scope);
    case ExpressionKind::logical_not:
    case ExpressionKind::logical_and:
    case ExpressionKind::logical_or:
    case ExpressionKind::conditional:
      return evaluate_logic(node, scope);
    case ExpressionKind::negate:
    case ExpressionKind::positive:
    case ExpressionKind::binary:
    case ExpressionKind::concat:
      return evaluate_operator(node, scope);
    case ExpressionKind::compare:
      return evaluate_compare(node, scope);
  }
  return Value();
}

Value Interpreter::evaluate_name(const Expression& node, const Scope& scope) {
  if (const Value* value = scope.find(node.text)) return *value;
  if (std::optional<Value> value = find_global(node.text)) return *value;
  return Value::undefined(fmt::format("'{}' is undefined", node.text));
}

Value Interpreter::evaluate_list(const Expression& node, const ScopePointer& scope) {
  std::vector<Value> items;
  items.reserve(node.children.size());
  for (const ExpressionPointer& child : node.children) items.push_back(evaluate(*child, scope));
  return Value::sequence(std::move(items),
                         node.kind == ExpressionKind::list ? Sequence::Form::list : Sequence::Form::tuple);
}

Value Interpreter::evaluate_dict(const Expression& node, const ScopePointer& scope) {
  std::vector<std::pair<Value, Value>> pairs;
  for (size_t idx = 0; idx + 1 < node.children.size(); idx += 2) {
    Value key = evaluate(*node.children[idx], scope);
    pairs.emplace_back(std::move(key), evaluate(*node.children[idx + 1], scope));
  }
  return dict_from_pairs(std::move(pairs), budget_);
}

Value Interpreter::evaluate_item(const Expression& node, const ScopePointer& scope) {
  Value object = evaluate(*node.children[0], scope);
  const Expression& key = *node.children[1];
  if (key.kind != ExpressionKind::slice) {
    Value index = evaluate(key, scope);
    position_ = node.position;
    return get_item(*this, object, index);
  }
  std::optional<int64_t> bounds[3];
  for (size_t idx = 0; idx < 3; ++idx) {
    if (key.children[idx] == nullptr) continue;
    Value bound = evaluate(*key.children[idx], scope);
    if (bound.is_none()) continue;
    if (!bound.is_integer()) refuse("the bounds of a slice are integers, not {}", bound.type_name());
    bounds[idx] = bound.integer();
  }
  position_ = node.position;
  return get_slice(*this, object, bounds[0], bounds[1], bounds[2]);
}

Arguments Interpreter::evaluate_arguments(const CallArguments& given, const ScopePointer& scope) {
  Arguments arguments;
  for (const ExpressionPointer& expression : given.positional)
    arguments.positional.push_back(evaluate(*expression, scope));
  for (const auto& [name, expression] : given.named)
    arguments.named.emplace_back(name, evaluate(*expression, scope));
  if (given.star != nullptr)
    for (Value& item : items_of(evaluate(*given.star, scope), budget_))
      arguments.positional.push_back(std::move(item));
  if (given.double_star != nullptr) {
    Value more = evaluate(*given.double_star, scope);
    if (more.as_dict() == nullptr) refuse("** needs a dict, not {}", more.type_name());
    for (const auto& [key, value] : more.as_dict()->entries) {
      if (!key.is_string()) refuse("the keys of ** are strings, not {}", key.type_name());
      arguments.named.emplace_back(key.text(), value);
    }
  }
  return arguments;
}

Value Interpreter::evaluate_call(const Expression& node, const ScopePointer& scope, const Value* caller) {
  Value callee = evaluate(*node.children[0], scope);
  Arguments arguments = evaluate_arguments(node.arguments, scope);
  if (caller != nullptr) arguments.named.emplace_back("caller", *caller);
  position_ = node.position;
  Value value = call(callee, arguments);
  if (value.is_string()) budget_.spend_text(value.text().size());
  return value;
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  Depth depth(*this);
  if (const Callable* callable = callee.as_callable()) return callable->function(*this, arguments);
  LoopState* loop = callee.as_loop();
  if (loop != nullptr && loop->recurse && arguments.positional.size() == 1) {
    auto recurse = loop->recurse;  // kept while it runs
    return recurse(arguments.positional[0]);
  }
  if (callee.is_undefined()) refuse("{}", *callee.get<Undefined>()->reason);
  refuse("a {} cannot be called", callee.type_name());
}

Value Interpreter::evaluate_filter(const Expression& node, const ScopePointer& scope,
                                   const Value* innermost) {
  Depth depth(*this);
  const Expression* input = node.children[0].get();
  Value value = input == nullptr ? *innermost
                : innermost != nullptr && input->kind == ExpressionKind::filter
                    ? evaluate_filter(*input, scope, innermost)
                    : evaluate(*input, scope);
  Arguments arguments = evaluate_arguments(node.arguments, scope);
  position_ = node.position;
  if (node.filter == nullptr)
    fail(ErrorKind::unsupported, "use a template without it", "{}", unknown_filter(node.text));
  Value result = node.filter(*this, value, arguments);
  if (result.is_string()) budget_.spend_text(result.text().size());
  return result;
}

Value Interpreter::evaluate_test(const Expression& node, const ScopePointer& scope) {
  Value value = evaluate(*node.children[0], scope);
  Arguments arguments = evaluate_arguments(node.arguments, scope);
  position_ = node.position;
  if (node.test == nullptr)
    fail(ErrorKind::unsupported, "use a template without it", "{}", unknown_test(node.text));
  return Value(node.test(*this, value, arguments));
}

Value Interpreter::apply_filter(const std::string& name, const Value& value, const Arguments& arguments) {
  FilterFunction filter = find_filter(name);
  if (filter == nullptr)
    fail(ErrorKind::unsupported, "use a template without it", "{}", unknown_filter(name));
  budget_.spend(1);
  return filter(*this, value, arguments);
}

bool Interpreter::apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
  TestFunction test = find_test(name);
  if (test == nullptr) fail(ErrorKind::unsupported, "use a template without it", "{}", unknown_test(name));
  budget_.spend(1);
  return test(*this, value, arguments);
}

Value Interpreter::evaluate_logic(const Expression& node, const ScopePointer& scope) {
  Value first = evaluate(*node.children[0], scope);
  bool is_true = first.truth();
  switch (node.kind) {
    case ExpressionKind::logical_not:
      return Value(!is_true);
    case ExpressionKind::logical_and:
      return is_true ? evaluate(*node.children[1], scope) : first;
    case ExpressionKind::logical_or:
      return is_true ? first : evaluate(*node.children[1], scope);
    default:
      if (is_true) return evaluate(*node.children[1], scope);
      if (node.children[2] != nullptr) return evaluate(*node.children[2], scope);
      return Value::undefined("the inline if has no else and its condition is false");
  }
}

Value Interpreter::evaluate_operator(const Expression& node, const ScopePointer& scope) {
  if (node.kind == ExpressionKind::concat) {
    std::string text;
    for (const ExpressionPointer& child : node.children) {
      text += text_of(evaluate(*child, scope));
      budget_.check_bytes(static_cast<int64_t>(text.size()));
    }
    budget_.spend_text(text.size());
    return Value(std::move(text));
  }
  Value left = evaluate(*node.children[0], scope);
  if (node.kind == ExpressionKind::binary) {
    Value right = evaluate(*node.children[1], scope);
    position_ = node.position;
    Value value = apply_binary(*this, node.text, left, right);
    if (value.is_string()) budget_.spend_text(value.text().size());
    return value;
  }
  position_ = node.position;
  Value negative = negate(left);
  return node.kind == ExpressionKind::negate ? negative : negate(negative);
}

Value Interpreter::evaluate_compare(const Expression& node, const ScopePointer& scope) {
  Value left = evaluate(*node.children[0], scope);
  for (size_t idx = 0; idx < node.operators.size(); ++idx) {
    Value right = evaluate(*node.children[idx + 1], scope);
    position_ = node.position;
    if (!apply_comparison(*this, node.operators[idx], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

}  // namespace vlm::jinja
