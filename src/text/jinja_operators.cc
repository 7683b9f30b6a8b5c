#include <algorithm>
#include <cmath>

#include "text/jinja_interpreter.h"
#include "text/jinja_library.h"
#include "text/jinja_text.h"

namespace vlm::jinja {

namespace {

[[noreturn]] void refuse_operands(const std::string& symbol, const Value& left, const Value& right) {
  for (const Value* side : {&left, &right})
    if (side->is_undefined()) refuse("{}", *side->get<Undefined>()->reason);
  if (symbol == "+" && (left.is_string() || right.is_string()))
    refuse("a str can be added to a str only, not {} + {}; use ~ or the filter 'string'", left.type_name(),
           right.type_name());
  refuse("{} is not possible between {} and {}", symbol, left.type_name(), right.type_name());
}

[[noreturn]] void refuse_overflow(const std::string& symbol) {
  refuse("the result of {} does not fit an integer of 64 bits", symbol);
}

int64_t floor_division(int64_t left, int64_t right) {
  int64_t quotient = left / right;
  return quotient - (left % right != 0 && (left < 0) != (right < 0));
}

Value integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) return Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) refuse_overflow("**");
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) refuse_overflow("**");
  }
  return Value(result);
}

Value integer_arithmetic(const std::string& symbol, int64_t left, int64_t right) {
  int64_t result = 0;
  if (symbol == "+" || symbol == "-" || symbol == "*") {
    bool overflows = symbol == "+"   ? __builtin_add_overflow(left, right, &result)
                     : symbol == "-" ? __builtin_sub_overflow(left, right, &result)
                                     : __builtin_mul_overflow(left, right, &result);
    if (overflows) refuse_overflow(symbol);
    return Value(result);
  }
  if (symbol == "**") {
    if (left == 0 && right < 0) refuse("division by zero");
    return integer_power(left, right);
  }
  if (right == 0) refuse("division by zero");
  if (symbol == "/") return Value(static_cast<double>(left) / static_cast<double>(right));
  if (right == -1) {  // the one quotient that overflows
    if (symbol == "%") return Value(int64_t{0});
    if (left == INT64_MIN) refuse_overflow(symbol);
  }
  int64_t quotient = floor_division(left, right);
  return Value(symbol == "//" ? quotient : left - quotient * right);
}

Value float_arithmetic(const std::string& symbol, double left, double right) {
  if (symbol == "+") return Value(left + right);
  if (symbol == "-") return Value(left - right);
  if (symbol == "*") return Value(left * right);
  if (symbol == "**") return Value(std::pow(left, right));
  if (right == 0) refuse("division by zero");
  if (symbol == "/") return Value(left / right);
  double rest = std::fmod(left, right);
  if (rest != 0 && (rest < 0) != (right < 0)) rest += right;
  if (symbol == "%") return Value(rest);
  return Value(std::floor((left - rest) / right + 0.5));
}

Value repeat(Interpreter& interpreter, const Value& value, int64_t count) {
  count = std::max<int64_t>(count, 0);
  if (value.is_string()) {
    const std::string& text = value.text();
    auto size = static_cast<int64_t>(text.size());
    if (size > 0) interpreter.budget().check_bytes(count > (int64_t{1} << 40) ? count : size * count);
    std::string out;
    for (int64_t done = 0; size > 0 && done < count; ++done) out += text;
    return Value(std::move(out));
  }
  const Sequence& sequence = *value.as_sequence();
  auto size = static_cast<int64_t>(sequence.items.size());
  std::vector<Value> items;
  if (size > 0) interpreter.budget().spend(count > (int64_t{1} << 40) ? count : size * count);
  for (int64_t done = 0; size > 0 && done < count; ++done)
    items.insert(items.end(), sequence.items.begin(), sequence.items.end());
  return Value::sequence(std::move(items), sequence.form);
}

bool can_repeat(const Value& value) {
  return value.is_string() || value.is_list_like();
}

}  // namespace

Value apply_binary(Interpreter& interpreter, const std::string& symbol, const Value& left,
                   const Value& right) {
  if (left.is_integer() && right.is_integer())
    return integer_arithmetic(symbol, left.integer(), right.integer());
  if (left.is_number() && right.is_number()) return float_arithmetic(symbol, left.number(), right.number());
  if (symbol == "+" && left.is_string() && right.is_string()) {
    interpreter.budget().check_bytes(static_cast<int64_t>(left.text().size() + right.text().size()));
    return Value(left.text() + right.text());
  }
  if (symbol == "+" && left.is_list_like() && right.is_list_like() &&
      std::string_view(left.type_name()) == right.type_name()) {
    std::vector<Value> items = items_of(left, interpreter.budget());
    std::vector<Value> more = items_of(right, interpreter.budget());
    items.insert(items.end(), more.begin(), more.end());
    return Value::sequence(std::move(items), left.as_sequence()->form);
  }
  if (symbol == "*" && can_repeat(left) && right.is_integer())
    return repeat(interpreter, left, right.integer());
  if (symbol == "*" && can_repeat(right) && left.is_integer())
    return repeat(interpreter, right, left.integer());
  if (symbol == "%" && left.is_string()) return Value(format_percent(interpreter, left.text(), right));
  refuse_operands(symbol, left, right);
}

Value negate(const Value& value) {
  if (value.is_integer()) {
    if (value.integer() == INT64_MIN) refuse_overflow("-");
    return Value(-value.integer());
  }
  if (value.is_number()) return Value(-value.number());
  if (value.is_undefined()) refuse("{}", *value.get<Undefined>()->reason);
  refuse("a {} cannot be negated", value.type_name());
}

bool apply_comparison(Interpreter& interpreter, const std::string& symbol, const Value& left,
                      const Value& right) {
  Budget& budget = interpreter.budget();
  if (symbol == "==") return equal(left, right, budget);
  if (symbol == "!=") return !equal(left, right, budget);
  if (symbol == "in") return contains(right, left, budget);
  if (symbol == "not in") return !contains(right, left, budget);
  if (left.is_number() && right.is_number() && (std::isnan(left.number()) || std::isnan(right.number())))
    return false;
  int order = compare(left, right, symbol.c_str(), budget);
  if (symbol == "<") return order < 0;
  if (symbol == "<=") return order <= 0;
  if (symbol == ">") return order > 0;
  return order >= 0;
}

// --- lookups

namespace {

Value absent(const Value& value, const std::string& name) {
  return Value::undefined(
      fmt::format("{} has no attribute '{}'", value.is_none() ? "None" : value.type_name(), name));
}

// Attributes that are values, not methods.
std::optional<Value> special_attribute(const Value& value, const std::string& name) {
  if (Namespace* names = value.as_namespace())
    if (const Value* found = names->find(name)) return *found;
  if (auto sequence = value.as_sequence(); sequence != nullptr && sequence->form == Sequence::Form::group) {
    if (name == "grouper") return sequence->items[0];
    if (name == "list") return sequence->items[1];
  }
  LoopState* loop = value.as_loop();
  if (loop == nullptr) return std::nullopt;
  if (name == "index0") return Value(loop->index0);
  if (name == "index") return Value(loop->index0 + 1);
  if (name == "first") return Value(loop->index0 == 0);
  if (name == "last") return Value(!loop->peek().has_value());
  if (name == "length") return Value(loop->length());
  if (name == "revindex") return Value(loop->length() - loop->index0);
  if (name == "revindex0") return Value(loop->length() - loop->index0 - 1);
  if (name == "depth") return Value(loop->level);
  if (name == "depth0") return Value(loop->level - 1);
  if (name == "previtem") return loop->before.value_or(Value::undefined("there is no previous item"));
  if (name == "nextitem") return loop->peek().value_or(Value::undefined("there is no next item"));
  return std::nullopt;
}

Value item_or_undefined(Interpreter& interpreter, const Value& value, const Value& key) {
  Budget& budget = interpreter.budget();
  if (auto dict = value.as_dict()) {
    bool is_hashable = key.as_dict() == nullptr && (key.as_sequence() == nullptr || !key.is_list_like() ||
                                                    std::string_view(key.type_name()) == "tuple");
    if (const Value* found = is_hashable ? dict->find(key, budget) : nullptr) return *found;
  } else if (key.is_integer() && (value.is_string() || value.as_sequence() != nullptr)) {
    const Sequence* sequence = value.as_sequence();
    bool is_indexed = sequence == nullptr || value.is_list_like() || sequence->form == Sequence::Form::range;
    int64_t length = length_of(value);
    int64_t index = key.integer() < 0 ? key.integer() + length : key.integer();
    if (is_indexed && index >= 0 && index < length) {
      if (sequence != nullptr) return sequence->items[static_cast<size_t>(index)];
      const std::string& text = value.text();
      budget.spend_text(text.size());
      size_t offset = byte_offset(text, index);
      return Value(text.substr(offset, code_point_at(text, offset).num_bytes));
    }
  }
  if (key.is_string()) return absent(value, key.text());
  return Value::undefined(fmt::format("{} has no element {}", value.type_name(), repr(key, budget)));
}

void check_defined(const Value& value) {
  if (value.is_undefined()) refuse("{}", *value.get<Undefined>()->reason);
}

}  // namespace

Value get_attribute(Interpreter& interpreter, const Value& value, const std::string& name) {
  check_defined(value);
  if (std::optional<Value> special = special_attribute(value, name)) return *special;
  Value method = find_method(value, name);
  if (!method.is_undefined() || method.get<Undefined>()->reason != nullptr) return method;
  return item_or_undefined(interpreter, value, Value(name));
}

Value get_item(Interpreter& interpreter, const Value& value, const Value& key) {
  check_defined(value);
  Value item = item_or_undefined(interpreter, value, key);
  if (!item.is_undefined() || !key.is_string()) return item;
  if (auto dict = value.as_dict())
    if (dict->find(key.text()) != nullptr) return item;
  if (std::optional<Value> special = special_attribute(value, key.text())) return *special;
  Value method = find_method(value, key.text());
  return method.is_undefined() ? item : method;
}

Value get_slice(Interpreter& interpreter, const Value& value, const std::optional<int64_t>& begin,
                const std::optional<int64_t>& end, const std::optional<int64_t>& step) {
  check_defined(value);
  const Sequence* sequence = value.as_sequence();
  if (!value.is_string() && !value.is_list_like() &&
      (sequence == nullptr || sequence->form != Sequence::Form::range))
    refuse("a {} cannot be sliced", value.type_name());
  int64_t stride = step.value_or(1);
  if (stride == 0) refuse("the step of a slice is zero");
  int64_t length = length_of(value);
  bool forward = stride > 0;
  auto clamp = [&](const std::optional<int64_t>& bound, int64_t fallback) {
    if (!bound.has_value()) return fallback;
    int64_t low = forward ? 0 : -1;
    int64_t index = *bound < 0 ? std::max(*bound + length, low) : *bound;
    return std::min(index, forward ? length : length - 1);
  };
  int64_t first = clamp(begin, forward ? 0 : length - 1);
  int64_t last = clamp(end, forward ? length : -1);
  interpreter.budget().spend(value.is_string() ? length >> 4 : length >> 1);
  if (value.is_string() && stride == 1) {
    size_t offset = byte_offset(value.text(), first);
    return Value(first >= last ? std::string()
                               : value.text().substr(offset, byte_offset(value.text(), last) - offset));
  }
  std::vector<std::string_view> letters;
  if (value.is_string()) letters = characters(value.text());
  std::string text;
  std::vector<Value> items;
  stride = std::clamp(stride, -length - 1, length + 1);  // further is outside anyway, and cannot overflow
  for (int64_t index = first; forward ? index < last : index > last; index += stride) {
    if (sequence == nullptr)
      text += letters[static_cast<size_t>(index)];
    else
      items.push_back(sequence->items[static_cast<size_t>(index)]);
  }
  if (sequence == nullptr) return Value(std::move(text));
  return Value::sequence(std::move(items), sequence->form);
}

Value get_path(Interpreter& interpreter, const Value& value, const Value& path) {
  if (!path.is_string()) return get_item(interpreter, value, path);
  Value item = value;
  std::string_view rest = path.text();
  for (bool is_last = false; !is_last;) {
    size_t dot = rest.find('.');
    is_last = dot == std::string_view::npos;
    std::string part(rest.substr(0, dot));
    if (!is_last) rest.remove_prefix(dot + 1);
    bool is_index =
        !part.empty() && part.size() < 10 &&
        std::all_of(part.begin(), part.end(), [](char letter) { return letter >= '0' && letter <= '9'; });
    item = get_item(interpreter, item, is_index ? Value(static_cast<int64_t>(std::stol(part))) : Value(part));
  }
  return item;
}

}  // namespace vlm::jinja
