// The table of filters, and the filters over single values: numbers, defaults, JSON.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "text/jinja_interpreter.h"
#include "text/jinja_library.h"
#include "text/jinja_text.h"

namespace vlm::jinja {

namespace {

Value filter_default(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "default", arguments, {"default_value", "boolean"});
  bool is_missing = value.is_undefined() || (given.truth(1, false) && !value.truth());
  if (!is_missing) return value;
  return given.has(0) ? given.at(0) : Value("");
}

Value filter_attr(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "attr", arguments, {"name"}, 1);
  if (value.as_dict() != nullptr) {  // attributes proper only, not items
    Value method = find_method(value, given.string(0));
    return method.is_undefined()
               ? Value::undefined(fmt::format("dict has no attribute '{}'", given.string(0)))
               : method;
  }
  return get_attribute(interpreter, value, given.string(0));
}

Value filter_length(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "length", arguments, {});
  if (value.as_loop() != nullptr) return Value(value.as_loop()->length());
  return Value(length_of(value));
}

// --- numbers

std::optional<int64_t> whole_part(double number) {
  if (!std::isfinite(number)) return std::nullopt;
  if (std::fabs(number) >= 9.2e18) refuse("{} does not fit an integer of 64 bits", float_text(number));
  return static_cast<int64_t>(number);
}

Value filter_int(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "int", arguments, {"default", "base"});
  Value fallback = given.has(0) ? given.at(0) : Value(int64_t{0});
  if (value.is_undefined()) refuse("{}", *value.get<Undefined>()->reason);
  if (value.is_integer()) return Value(value.integer());
  double number = 0;
  if (value.is_string()) {
    int64_t integer = 0;
    if (parse_integer(value.text(), static_cast<int>(std::clamp<int64_t>(given.integer(1, 10), 0, 99)),
                      integer))
      return Value(integer);
    if (!parse_float(value.text(), number)) return fallback;
  } else if (value.is_number()) {
    number = value.number();
  } else {
    return fallback;
  }
  std::optional<int64_t> whole = whole_part(number);
  return whole.has_value() ? Value(*whole) : fallback;
}

Value filter_float(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "float", arguments, {"default"});
  double number = 0;
  if (value.is_undefined()) refuse("{}", *value.get<Undefined>()->reason);
  if (value.is_number()) return Value(value.number());
  if (value.is_string() && parse_float(value.text(), number)) return Value(number);
  return given.has(0) ? given.at(0) : Value(0.0);
}

Value filter_abs(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "abs", arguments, {});
  if (!value.is_number()) return negate(value);  // says why not
  bool is_negative = value.is_integer() ? value.integer() < 0 : std::signbit(value.number());
  if (is_negative) return negate(value);
  return value.is_integer() ? Value(value.integer()) : value;
}

Value filter_round(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "round", arguments, {"precision", "method"});
  if (!value.is_number()) return negate(value);  // says why not
  int64_t precision = std::clamp<int64_t>(given.integer(0, 0), -330, 330);
  std::string method = given.text(1, "common");
  double number = value.number();
  if (method == "common") {
    if (value.is_integer() && precision >= 0) return Value(value.integer());
    if (!std::isfinite(number)) return value;
    double rounded = 0;
    if (precision >= 0) {
      parse_float(fmt::format("{:.{}f}", number, precision), rounded);
      return Value(rounded);
    }
    double scale = std::pow(10.0, static_cast<double>(-precision));
    rounded = std::nearbyint(number / scale) * scale;
    return value.is_integer() ? Value(whole_part(rounded).value_or(0)) : Value(rounded);
  }
  double scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value(std::ceil(number * scale) / scale);
  if (method == "floor") return Value(std::floor(number * scale) / scale);
  refuse("'round' knows the methods common, ceil and floor, not {}", quotation(method));
}

Value filter_filesizeformat(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "filesizeformat", arguments, {"binary"});
  bool binary = given.truth(0, false);
  Value size = filter_float(interpreter, value, {{Value(None{})}, {}});
  if (size.is_none()) refuse("'filesizeformat' needs a number, not {}", value.type_name());
  double bytes = size.number();
  double base = binary ? 1024 : 1000;
  if (bytes == 1) return Value("1 Byte");
  if (bytes < base) return Value(fmt::format("{} Bytes", whole_part(bytes).value_or(0)));
  double unit = base;
  std::string_view letters = binary ? "KMGTPEZY" : "kMGTPEZY";
  size_t idx = 0;
  while (idx + 1 < letters.size() && bytes >= unit * base) {
    unit *= base;
    ++idx;
  }
  return Value(fmt::format("{:.1f} {}{}", bytes / unit, letters[idx], binary ? "iB" : "B"));
}

// --- text of a value

Value filter_string(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "string", arguments, {});
  return value.is_string() ? value : Value(interpreter.text_of(value));
}

Value filter_tojson(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = given.truth(0, false);
  style.sort_keys = given.truth(3, false);
  if (given.has_value(1)) {
    style.pretty = true;
    style.item_separator = ",";
    if (given.at(1).is_string()) {
      style.indent = given.at(1).text();
    } else {
      int64_t width = std::max<int64_t>(given.integer(1, 0), 0);
      if (width > 1000) refuse("an indent of {} is too wide", width);
      style.indent.assign(static_cast<size_t>(width), ' ');
    }
  }
  if (given.has_value(2)) {
    std::vector<Value> separators = items_of(given.at(2), interpreter.budget());
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string())
      refuse("'tojson' needs two strings as separators");
    style.item_separator = separators[0].text();
    style.key_separator = separators[1].text();
  }
  return Value(to_json(value, style, interpreter.budget()));
}

}  // namespace

std::span<const Entry<FilterFunction>> value_filters() {
  static constexpr Entry<FilterFunction> kTable[] = {
      {"default", filter_default}, {"d", filter_default},    {"attr", filter_attr},
      {"length", filter_length},   {"count", filter_length}, {"int", filter_int},
      {"float", filter_float},     {"abs", filter_abs},      {"round", filter_round},
      {"string", filter_string},   {"safe", filter_string},  {"filesizeformat", filter_filesizeformat},
      {"tojson", filter_tojson},
  };
  return kTable;
}

// --- the whole table

namespace {
const std::unordered_map<std::string_view, FilterFunction>& filters() {
  static const auto table = [] {
    std::unordered_map<std::string_view, FilterFunction> all;
    for (auto part : {value_filters(), text_filters(), list_filters()}) all.insert(part.begin(), part.end());
    return all;
  }();
  return table;
}
}  // namespace

FilterFunction find_filter(std::string_view name) {
  auto found = filters().find(name);
  return found == filters().end() ? nullptr : found->second;
}

std::string unknown_filter(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& entry : filters()) known.emplace_back(entry.first);
  std::sort(known.begin(), known.end());
  std::string near = nearest_word(name, known);
  return fmt::format("there is no filter '{}'{}", name,
                     near.empty() ? "" : "; the nearest is '" + near + "'");
}

}  // namespace vlm::jinja
