// What templates can call: filters, tests, methods of values, global functions, operators.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"

namespace vlm::jinja {

// --- filters and tests by name; null when there is none
FilterFunction find_filter(std::string_view name);
TestFunction find_test(std::string_view name);
std::string unknown_filter(const std::string& name);  // the message, with the nearest name
std::string unknown_test(const std::string& name);

// The tables of the files that make up find_filter.
template <typename Function>
using Entry = std::pair<std::string_view, Function>;
std::span<const Entry<FilterFunction>> text_filters();
std::span<const Entry<FilterFunction>> list_filters();
std::span<const Entry<FilterFunction>> value_filters();

// --- lookups as Jinja does them: value.name tries methods first, value[key] items first; undefined when
// absent
Value get_attribute(Interpreter& interpreter, const Value& value, const std::string& name);
Value get_item(Interpreter& interpreter, const Value& value, const Value& key);
Value get_slice(Interpreter& interpreter, const Value& value, const std::optional<int64_t>& begin,
                const std::optional<int64_t>& end, const std::optional<int64_t>& step);
// A bound method; undefined where the value has none of that name.
Value find_method(const Value& value, const std::string& name);
// The attribute of a filter's argument: a name, a dotted path ("function.name") or an index.
Value get_path(Interpreter& interpreter, const Value& value, const Value& path);

// --- operators
Value apply_binary(Interpreter& interpreter, const std::string& symbol, const Value& left,
                   const Value& right);
Value negate(const Value& value);
bool apply_comparison(Interpreter& interpreter, const std::string& symbol, const Value& left,
                      const Value& right);

// --- text formatting: "%s" % values and "{}".format(...)
std::string format_percent(Interpreter& interpreter, const std::string& format, const Value& values);
std::string format_braces(Interpreter& interpreter, const std::string& format, const Arguments& arguments);

// --- global functions: raise_exception, strftime_now, namespace, range, dict, cycler, joiner
std::optional<Value> find_global(std::string_view name);

// The arguments of a built-in by position or name; throws when one is unknown, missing or given twice.
class Parameters {
 public:
  Parameters(Interpreter& interpreter, std::string_view function, const Arguments& arguments,
             std::initializer_list<std::string_view> names, size_t num_required = 0);

  bool has(size_t idx) const { return values_[idx] != nullptr; }
  bool has_value(size_t idx) const { return has(idx) && !values_[idx]->is_none(); }
  const Value& at(size_t idx) const { return *values_[idx]; }
  std::string text(size_t idx, std::string_view fallback = {}) const;  // str() of it
  const std::string& string(size_t idx) const;                         // it must be a str
  int64_t integer(size_t idx, int64_t fallback) const;
  bool truth(size_t idx, bool fallback) const { return has(idx) ? at(idx).truth() : fallback; }

 private:
  Interpreter& interpreter_;
  std::string_view function_;
  std::vector<const Value*> values_;
};

// Pads with spaces or `fill` to `width` characters; align is '<', '>' or '^'.
std::string pad(Interpreter& interpreter, std::string_view text, int64_t width, char align,
                std::string_view fill = " ");
std::string replace_all(Interpreter& interpreter, std::string_view text, std::string_view from,
                        std::string_view to, int64_t count);
std::string join(Interpreter& interpreter, const std::vector<Value>& items, std::string_view separator);

}  // namespace vlm::jinja
