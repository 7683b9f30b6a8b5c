// The tests: x is defined, x is string, ...
#include <algorithm>
#include <unordered_map>

#include "text/jinja_interpreter.h"
#include "text/jinja_library.h"
#include "text/jinja_text.h"

namespace vlm::jinja {

namespace {

bool is_sequence(const Value& value) {
  const Sequence* sequence = value.as_sequence();
  if (sequence != nullptr) return value.is_list_like() || sequence->form == Sequence::Form::range;
  return value.is_string() || value.as_dict() != nullptr || value.is_undefined();
}

bool is_iterable(const Value& value) {
  return is_sequence(value) || value.as_sequence() != nullptr || value.as_generator() != nullptr ||
         value.as_loop() != nullptr;
}

template <bool (*Predicate)(const Value&)>
bool plain(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "a test", arguments, {});
  return Predicate(value);
}

template <const char* (*Symbol)()>
bool comparison(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, Symbol(), arguments, {"other"}, 1);
  return apply_comparison(interpreter, Symbol(), value, given.at(0));
}

int64_t remainder(Interpreter& interpreter, const Value& value, int64_t divisor) {
  Value rest = apply_binary(interpreter, "%", value, Value(divisor));
  return rest.is_number() ? (rest.number() == 0 ? 0 : rest.number() == 1 ? 1 : 2) : 2;
}

bool test_divisible(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "divisibleby", arguments, {"num"}, 1);
  return remainder(interpreter, value, given.integer(0, 1)) == 0;
}
bool test_even(Interpreter& interpreter, const Value& value, const Arguments&) {
  return remainder(interpreter, value, 2) == 0;
}
bool test_odd(Interpreter& interpreter, const Value& value, const Arguments&) {
  return remainder(interpreter, value, 2) == 1;
}

bool test_same(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "sameas", arguments, {"other"}, 1);
  const Value& other = given.at(0);
  if (std::string_view(value.type_name()) != other.type_name()) return false;
  if (auto sequence = value.as_sequence()) return sequence == other.as_sequence();
  if (auto dict = value.as_dict()) return dict == other.as_dict();
  return equal(value, other, interpreter.budget());
}

template <std::string (*Change)(std::string_view), std::string (*Other)(std::string_view)>
bool has_case(Interpreter& interpreter, const Value& value, const Arguments&) {
  std::string text = interpreter.text_of(value);
  return Change(text) == text && Other(text) != text;
}

bool test_filter(Interpreter& interpreter, const Value& value, const Arguments&) {
  return find_filter(interpreter.text_of(value)) != nullptr;
}
bool test_test(Interpreter& interpreter, const Value& value, const Arguments&) {
  return find_test(interpreter.text_of(value)) != nullptr;
}

bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_undefined(const Value& value) {
  return value.is_undefined();
}
bool is_none(const Value& value) {
  return value.is_none();
}
bool is_string(const Value& value) {
  return value.is_string();
}
bool is_mapping(const Value& value) {
  return value.as_dict() != nullptr;
}
bool is_boolean(const Value& value) {
  return value.get<bool>() != nullptr;
}
bool is_true(const Value& value) {
  return is_boolean(value) && value.truth();
}
bool is_false(const Value& value) {
  return is_boolean(value) && !value.truth();
}
bool is_integer(const Value& value) {
  return value.get<int64_t>() != nullptr;
}
bool is_float(const Value& value) {
  return value.get<double>() != nullptr;
}
bool is_number(const Value& value) {
  return value.is_number();
}
bool is_callable(const Value& value) {
  return value.as_callable() != nullptr;
}
bool is_escaped(const Value&) {
  return false;
}

const char* equal_symbol() {
  return "==";
}
const char* unequal_symbol() {
  return "!=";
}
const char* less_symbol() {
  return "<";
}
const char* less_equal_symbol() {
  return "<=";
}
const char* greater_symbol() {
  return ">";
}
const char* greater_equal_symbol() {
  return ">=";
}
const char* in_symbol() {
  return "in";
}

const std::unordered_map<std::string_view, TestFunction>& tests() {
  static const std::unordered_map<std::string_view, TestFunction> table = {
      {"defined", plain<is_defined>},
      {"undefined", plain<is_undefined>},
      {"none", plain<is_none>},
      {"string", plain<is_string>},
      {"mapping", plain<is_mapping>},
      {"sequence", plain<is_sequence>},
      {"iterable", plain<is_iterable>},
      {"boolean", plain<is_boolean>},
      {"true", plain<is_true>},
      {"false", plain<is_false>},
      {"integer", plain<is_integer>},
      {"float", plain<is_float>},
      {"number", plain<is_number>},
      {"callable", plain<is_callable>},
      {"escaped", plain<is_escaped>},
      {"divisibleby", test_divisible},
      {"even", test_even},
      {"odd", test_odd},
      {"sameas", test_same},
      {"lower", has_case<to_lower, to_upper>},
      {"upper", has_case<to_upper, to_lower>},
      {"filter", test_filter},
      {"test", test_test},
      {"in", comparison<in_symbol>},
      {"==", comparison<equal_symbol>},
      {"eq", comparison<equal_symbol>},
      {"equalto", comparison<equal_symbol>},
      {"!=", comparison<unequal_symbol>},
      {"ne", comparison<unequal_symbol>},
      {"<", comparison<less_symbol>},
      {"lt", comparison<less_symbol>},
      {"lessthan", comparison<less_symbol>},
      {"<=", comparison<less_equal_symbol>},
      {"le", comparison<less_equal_symbol>},
      {">", comparison<greater_symbol>},
      {"gt", comparison<greater_symbol>},
      {"greaterthan", comparison<greater_symbol>},
      {">=", comparison<greater_equal_symbol>},
      {"ge", comparison<greater_equal_symbol>},
  };
  return table;
}

}  // namespace

TestFunction find_test(std::string_view name) {
  auto found = tests().find(name);
  return found == tests().end() ? nullptr : found->second;
}

std::string unknown_test(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& entry : tests()) known.emplace_back(entry.first);
  std::sort(known.begin(), known.end());
  std::string near = nearest_word(name, known);
  return fmt::format("there is no test '{}'{}", name, near.empty() ? "" : "; the nearest is '" + near + "'");
}

}  // namespace vlm::jinja
