// Methods of str, list, tuple, dict and loop.
#include <algorithm>
#include <unordered_map>

#include "text/jinja_interpreter.h"
#include "text/jinja_library.h"
#include "text/jinja_text.h"

namespace vlm::jinja {

namespace {

using Method = Value (*)(Interpreter&, const Value&, const Arguments&);
using MethodTable = std::unordered_map<std::string_view, Method>;

std::string_view strip_set(const Parameters& given) {
  if (!given.has_value(0)) return {};
  return given.string(0).empty() ? std::string_view("\xff", 1) : std::string_view(given.string(0));
}

template <std::string_view (*Strip)(std::string_view, std::string_view)>
Value strip_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "strip", arguments, {"chars"});
  return Value(Strip(self.text(), strip_set(given)));
}

template <std::string (*Change)(std::string_view)>
Value case_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "a method that changes case", arguments, {});
  return Value(Change(self.text()));
}

// --- split

std::vector<Value> split_space(std::string_view text, int64_t limit) {
  std::vector<Value> parts;
  text = strip_left(text);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.emplace_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size() && !is_space(code_point_at(text, end).value))
      end += code_point_at(text, end).num_bytes;
    parts.emplace_back(text.substr(0, end));
    text = strip_left(text.substr(end));
  }
  return parts;
}

std::vector<Value> split_space_right(std::string_view text, int64_t limit) {
  std::vector<Value> parts;
  text = strip_right(text);
  while (!text.empty()) {
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.emplace_back(text);
      break;
    }
    size_t begin = 0;
    for (size_t at = 0; at < text.size();) {
      CodePoint letter = code_point_at(text, at);
      at += letter.num_bytes;
      if (is_space(letter.value)) begin = at;
    }
    parts.emplace_back(text.substr(begin));
    text = strip_right(text.substr(0, begin));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Value> split_at(std::string_view text, std::string_view separator, int64_t limit,
                            bool from_right) {
  std::vector<Value> parts;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    size_t found = from_right ? text.rfind(separator) : text.find(separator);
    if (found == std::string_view::npos) break;
    if (from_right) {
      parts.emplace_back(text.substr(found + separator.size()));
      text = text.substr(0, found);
    } else {
      parts.emplace_back(text.substr(0, found));
      text = text.substr(found + separator.size());
    }
  }
  parts.emplace_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

template <bool FromRight>
Value split_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "split", arguments, {"sep", "maxsplit"});
  int64_t limit = given.integer(1, -1);
  interpreter.budget().spend(static_cast<int64_t>(self.text().size() >> 2));
  if (!given.has_value(0))
    return Value::sequence(FromRight ? split_space_right(self.text(), limit)
                                     : split_space(self.text(), limit));
  if (given.string(0).empty()) refuse("'split' needs a separator that is not empty");
  return Value::sequence(split_at(self.text(), given.string(0), limit, FromRight));
}

Value split_lines(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "splitlines", arguments, {"keepends"});
  std::string_view text = self.text();
  interpreter.budget().spend(static_cast<int64_t>(text.size() >> 2));
  std::vector<Value> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    CodePoint letter = code_point_at(text, at);
    uint32_t value = letter.value;
    bool breaks = (value >= 0x0a && value <= 0x0d) || (value >= 0x1c && value <= 0x1e) ||
                  (letter.num_bytes > 1 && (value == 0x85 || value == 0x2028 || value == 0x2029));
    size_t end = at;
    at += letter.num_bytes;
    if (!breaks) continue;
    if (value == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.emplace_back(text.substr(begin, (given.truth(0, false) ? at : end) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return Value::sequence(std::move(lines));
}

template <bool FromRight>
Value partition(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "partition", arguments, {"sep"}, 1);
  const std::string& text = self.text();
  const std::string& separator = given.string(0);
  if (separator.empty()) refuse("'partition' needs a separator that is not empty");
  size_t found = FromRight ? text.rfind(separator) : text.find(separator);
  std::vector<Value> parts;
  if (found != std::string::npos)
    parts = {Value(text.substr(0, found)), Value(separator), Value(text.substr(found + separator.size()))};
  else if (FromRight)
    parts = {Value(""), Value(""), self};
  else
    parts = {self, Value(""), Value("")};
  return Value::sequence(std::move(parts), Sequence::Form::tuple);
}

// --- search

// The part of the text that the optional parameters start and end leave, and where it begins.
std::string_view window(const Parameters& given, const std::string& text, int64_t& first) {
  int64_t length = num_characters(text);
  auto clamp = [&](int64_t index) {
    return std::clamp<int64_t>(index < 0 ? index + length : index, 0, length);
  };
  first = clamp(given.integer(1, 0));
  int64_t last = clamp(given.integer(2, length));
  size_t begin = byte_offset(text, first);
  return std::string_view(text).substr(begin, last < first ? 0 : byte_offset(text, last) - begin);
}

template <bool AtEnd>
Value starts_or_ends(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, AtEnd ? "endswith" : "startswith", arguments, {"prefix", "start", "end"}, 1);
  int64_t first = 0;
  std::string_view text = window(given, self.text(), first);
  auto matches = [&](const Value& part) {
    if (!part.is_string())
      refuse("'startswith' and 'endswith' need a str or a tuple of them, not {}", part.type_name());
    return AtEnd ? text.ends_with(part.text()) : text.starts_with(part.text());
  };
  if (std::string_view(given.at(0).type_name()) != "tuple") return Value(matches(given.at(0)));
  const std::vector<Value>& parts = given.at(0).as_sequence()->items;
  return Value(std::any_of(parts.begin(), parts.end(), matches));
}

template <bool FromRight, bool MustFind>
Value find_text(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "find", arguments, {"sub", "start", "end"}, 1);
  int64_t first = 0;
  std::string_view text = window(given, self.text(), first);
  size_t found = FromRight ? text.rfind(given.string(0)) : text.find(given.string(0));
  if (found != std::string_view::npos) return Value(first + num_characters(text.substr(0, found)));
  if (MustFind) refuse("{} does not occur in the text", quotation(given.string(0)));
  return Value(int64_t{-1});
}

Value count_text(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "count", arguments, {"sub", "start", "end"}, 1);
  int64_t first = 0;
  std::string_view text = window(given, self.text(), first);
  const std::string& part = given.string(0);
  if (part.empty()) return Value(num_characters(text) + 1);
  int64_t count = 0;
  for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size()))
    ++count;
  return Value(count);
}

template <bool AtEnd>
Value remove_affix(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, AtEnd ? "removesuffix" : "removeprefix", arguments, {"affix"}, 1);
  std::string_view text = self.text();
  const std::string& affix = given.string(0);
  if (AtEnd && text.ends_with(affix)) text.remove_suffix(affix.size());
  if (!AtEnd && text.starts_with(affix)) text.remove_prefix(affix.size());
  return Value(text);
}

Value replace_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "replace", arguments, {"old", "new", "count"}, 2);
  return Value(replace_all(interpreter, self.text(), given.string(0), given.string(1), given.integer(2, -1)));
}

Value join_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "join", arguments, {"iterable"}, 1);
  std::vector<Value> items = items_of(given.at(0), interpreter.budget());
  for (size_t idx = 0; idx < items.size(); ++idx)
    if (!items[idx].is_string())
      refuse("'join': item {} is {}, a str was expected", idx, items[idx].type_name());
  return Value(join(interpreter, items, self.text()));
}

// --- shape and class

template <char Align>
Value pad_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "padding", arguments, {"width", "fillchar"}, 1);
  if (given.has(1) && num_characters(given.string(1)) != 1) refuse("the padding is one character");
  return Value(
      pad(interpreter, self.text(), given.integer(0, 0), Align, given.has(1) ? given.string(1) : " "));
}

Value zfill(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "zfill", arguments, {"width"}, 1);
  std::string_view text = self.text();
  size_t sign = text.starts_with('-') || text.starts_with('+');
  return Value(std::string(text.substr(0, sign)) + pad(interpreter, text.substr(sign),
                                                       given.integer(0, 0) - static_cast<int64_t>(sign), '>',
                                                       "0"));
}

template <typename Predicate>
bool all_of_text(const std::string& text, Predicate&& predicate) {
  for (size_t at = 0; at < text.size(); at += code_point_at(text, at).num_bytes)
    if (!predicate(code_point_at(text, at).value)) return false;
  return !text.empty();
}

template <bool (*Predicate)(uint32_t)>
Value class_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "a method that asks for a class", arguments, {});
  return Value(all_of_text(self.text(), Predicate));
}

bool is_alnum(uint32_t code_point) {
  return is_alpha(code_point) || is_digit(code_point);
}

template <std::string (*Change)(std::string_view), std::string (*Other)(std::string_view)>
Value has_case(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "a method that asks for case", arguments, {});
  return Value(Change(self.text()) == self.text() && Other(self.text()) != self.text());
}

Value ascii_method(Interpreter&, const Value& self, const Arguments&) {
  return Value(is_ascii(self.text()));
}

Value format_method(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  return Value(format_braces(interpreter, self.text(), arguments));
}

Value format_map(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "format_map", arguments, {"mapping"}, 1);
  Arguments named;
  if (given.at(0).as_dict() == nullptr) refuse("'format_map' needs a dict, not {}", given.at(0).type_name());
  for (const auto& [key, value] : given.at(0).as_dict()->entries)
    if (key.is_string()) named.named.emplace_back(key.text(), value);
  return Value(format_braces(interpreter, self.text(), named));
}

const MethodTable& text_methods() {
  static const MethodTable table = {
      {"strip", strip_method<strip>},
      {"lstrip", strip_method<strip_left>},
      {"rstrip", strip_method<strip_right>},
      {"upper", case_method<to_upper>},
      {"lower", case_method<to_lower>},
      {"casefold", case_method<to_lower>},
      {"title", case_method<title_words>},
      {"capitalize", case_method<capitalize>},
      {"swapcase", case_method<swap_case>},
      {"split", split_method<false>},
      {"rsplit", split_method<true>},
      {"splitlines", split_lines},
      {"partition", partition<false>},
      {"rpartition", partition<true>},
      {"startswith", starts_or_ends<false>},
      {"endswith", starts_or_ends<true>},
      {"find", find_text<false, false>},
      {"rfind", find_text<true, false>},
      {"index", find_text<false, true>},
      {"rindex", find_text<true, true>},
      {"count", count_text},
      {"replace", replace_method},
      {"removeprefix", remove_affix<false>},
      {"removesuffix", remove_affix<true>},
      {"join", join_method},
      {"ljust", pad_method<'<'>},
      {"rjust", pad_method<'>'>},
      {"center", pad_method<'c'>},
      {"zfill", zfill},
      {"isdigit", class_method<is_digit>},
      {"isdecimal", class_method<is_digit>},
      {"isnumeric", class_method<is_digit>},
      {"isalpha", class_method<is_alpha>},
      {"isalnum", class_method<is_alnum>},
      {"isspace", class_method<is_space>},
      {"isupper", has_case<to_upper, to_lower>},
      {"islower", has_case<to_lower, to_upper>},
      {"isascii", ascii_method},
      {"format", format_method},
      {"format_map", format_map},
  };
  return table;
}

// --- dict

template <Sequence::Form Form>
Value dict_view(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "a view of a dict", arguments, {});
  std::vector<Value> items;
  for (const auto& [key, value] : self.as_dict()->entries) {
    if (Form == Sequence::Form::keys) items.push_back(key);
    if (Form == Sequence::Form::values) items.push_back(value);
    if (Form == Sequence::Form::items) items.push_back(Value::sequence({key, value}, Sequence::Form::tuple));
  }
  interpreter.budget().spend(static_cast<int64_t>(items.size()));
  return Value::sequence(std::move(items), Form);
}

Value dict_get(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "get", arguments, {"key", "default"}, 1);
  if (const Value* found = self.as_dict()->find(given.at(0), interpreter.budget())) return *found;
  return given.has(1) ? given.at(1) : Value(None{});
}

Value copy(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "copy", arguments, {});
  return self;
}

const MethodTable& dict_methods() {
  static const MethodTable table = {
      {"items", dict_view<Sequence::Form::items>},
      {"keys", dict_view<Sequence::Form::keys>},
      {"values", dict_view<Sequence::Form::values>},
      {"get", dict_get},
      {"copy", copy},
  };
  return table;
}

// --- list, tuple

Value list_index(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "index", arguments, {"value"}, 1);
  const std::vector<Value>& items = self.as_sequence()->items;
  for (size_t idx = 0; idx < items.size(); ++idx)
    if (equal(items[idx], given.at(0), interpreter.budget())) return Value(static_cast<int64_t>(idx));
  refuse("{} is not in the list", repr(given.at(0), interpreter.budget()));
}

Value list_count(Interpreter& interpreter, const Value& self, const Arguments& arguments) {
  Parameters given(interpreter, "count", arguments, {"value"}, 1);
  int64_t count = 0;
  for (const Value& item : self.as_sequence()->items) count += equal(item, given.at(0), interpreter.budget());
  return Value(count);
}

const MethodTable& list_methods() {
  static const MethodTable table = {{"index", list_index}, {"count", list_count}, {"copy", copy}};
  return table;
}

// --- loop

Value loop_cycle(Interpreter&, const Value& self, const Arguments& arguments) {
  if (arguments.positional.empty()) refuse("'cycle' needs something to go through");
  auto count = static_cast<int64_t>(arguments.positional.size());
  return arguments.positional[static_cast<size_t>(std::max<int64_t>(self.as_loop()->index0, 0) % count)];
}

const MethodTable& loop_methods() {
  static const MethodTable table = {{"cycle", loop_cycle}};
  return table;
}

// The sandbox of transformers forbids what would change the messages: such a method is there but undefined.
bool changes_container(const Value& value, std::string_view name) {
  static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  static constexpr std::string_view kList[] = {"append", "clear", "pop",    "reverse",
                                               "insert", "sort",  "extend", "remove"};
  if (value.as_dict() != nullptr)
    return std::find(std::begin(kDict), std::end(kDict), name) != std::end(kDict);
  return std::string_view(value.type_name()) == "list" &&
         std::find(std::begin(kList), std::end(kList), name) != std::end(kList);
}

}  // namespace

Value find_method(const Value& value, const std::string& name) {
  const MethodTable* table = value.is_string()            ? &text_methods()
                             : value.as_dict() != nullptr ? &dict_methods()
                             : value.is_list_like()       ? &list_methods()
                             : value.as_loop() != nullptr ? &loop_methods()
                                                          : nullptr;
  if (table == nullptr) return Value();
  auto found = table->find(name);
  if (found == table->end()) {
    if (!changes_container(value, name)) return Value();
    return Value::undefined(
        fmt::format("{}.{} would change a {}, which chat templates may not (as in transformers); make a new "
                    "one: list + [item]",
                    value.type_name(), name, value.type_name()));
  }
  return Value::callable(
      name,
      [method = found->second, value](Interpreter& interpreter, const Arguments& arguments) {
        return method(interpreter, value, arguments);
      },
      value);
}

}  // namespace vlm::jinja
