// Filters over text.
#include <algorithm>

#include "text/jinja_interpreter.h"
#include "text/jinja_library.h"
#include "text/jinja_text.h"

namespace vlm::jinja {

namespace {

template <std::string (*Change)(std::string_view)>
Value change_case(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "a filter that changes case", arguments, {});
  return Value(Change(interpreter.text_of(value)));
}

// Unlike str.title(): only what follows white space, - ( { [ < starts a word.
std::string title_after_breaks(std::string_view text) {
  std::string out;
  std::string word;
  auto finish = [&] {
    if (word.empty()) return;
    size_t first = code_point_at(word, 0).num_bytes;
    out += to_upper(word.substr(0, first)) + to_lower(word.substr(first));
    word.clear();
  };
  for (std::string_view letter : characters(text)) {
    bool breaks = is_space(code_point_at(letter, 0).value) ||
                  std::string_view("-({[<").find(letter) != std::string_view::npos;
    if (!breaks) {
      word += letter;
      continue;
    }
    finish();
    out += letter;
  }
  finish();
  return out;
}

Value filter_trim(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "trim", arguments, {"chars"});
  std::string text = interpreter.text_of(value);
  if (given.has_value(0) && given.string(0).empty()) return Value(text);
  return Value(strip(text, given.has_value(0) ? std::string_view(given.string(0)) : std::string_view()));
}

Value filter_replace(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "replace", arguments, {"old", "new", "count"}, 2);
  return Value(replace_all(interpreter, interpreter.text_of(value), given.text(0), given.text(1),
                           given.integer(2, -1)));
}

Value filter_escape(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "escape", arguments, {});
  std::string text = interpreter.text_of(value);
  std::string out;
  for (char letter : text) {
    switch (letter) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += letter;
    }
  }
  interpreter.budget().check_bytes(static_cast<int64_t>(out.size()));
  return Value(std::move(out));
}

Value filter_center(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "center", arguments, {"width"});
  return Value(pad(interpreter, interpreter.text_of(value), given.integer(0, 80), 'c'));
}

Value filter_indent(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "indent", arguments, {"width", "first", "blank"});
  bool indents_first = given.truth(1, false);
  bool indents_blank = given.truth(2, false);
  std::string margin;
  if (given.has(0) && given.at(0).is_string())
    margin = given.at(0).text();
  else
    margin = pad(interpreter, "", given.integer(0, 4), '<');
  std::string text = interpreter.text_of(value);
  std::string out = indents_first ? margin : "";
  std::string_view rest = text;
  for (bool is_first = true;; is_first = false) {
    size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    if (!is_first && (indents_blank || !line.empty())) out += margin;
    out += line;
    interpreter.budget().check_bytes(static_cast<int64_t>(out.size()));
    if (end == std::string_view::npos) return Value(std::move(out));
    out += '\n';
    rest.remove_prefix(end + 1);
  }
}

Value filter_format(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty())
    refuse("'format' takes arguments by position or by name, not both");
  Value values = Value::sequence(arguments.positional, Sequence::Form::tuple);
  if (!arguments.named.empty()) {
    std::vector<std::pair<Value, Value>> pairs;
    for (const auto& [name, item] : arguments.named) pairs.emplace_back(Value(name), item);
    values = dict_from_pairs(std::move(pairs), interpreter.budget());
  }
  return Value(format_percent(interpreter, interpreter.text_of(value), values));
}

Value filter_wordcount(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "wordcount", arguments, {});
  std::string text = interpreter.text_of(value);
  int64_t count = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    CodePoint letter = code_point_at(text, at);
    bool is_word = letter.value == '_' || is_alpha(letter.value) || is_digit(letter.value);
    count += is_word && !inside;
    inside = is_word;
    at += letter.num_bytes;
  }
  return Value(count);
}

Value filter_truncate(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "truncate", arguments, {"length", "killwords", "end", "leeway"});
  std::string text = interpreter.text_of(value);
  std::string end = given.text(2, "...");
  int64_t length = given.integer(0, 255);
  int64_t kept = length - num_characters(end);
  if (kept < 0) refuse("'truncate' to {} characters leaves no room for its end", length);
  int64_t leeway = given.integer(3, 5);
  if (leeway < 0) refuse("'truncate' needs a leeway of at least 0, not {}", leeway);
  int64_t count = num_characters(text);
  if (count <= length || count - length <= leeway) return Value(text);
  std::string head = text.substr(0, byte_offset(text, kept));
  if (!given.truth(1, false)) head = head.substr(0, head.rfind(' '));
  return Value(head + end);
}

Value filter_urlencode(Interpreter& interpreter, const Value& value, const Arguments& arguments) {
  Parameters given(interpreter, "urlencode", arguments, {});
  auto encoded = [&](const Value& part, bool in_query) {
    std::string_view plain = in_query ? "_.-~" : "_.-~/";
    std::string out;
    for (char letter : interpreter.text_of(part)) {
      if (std::isalnum(static_cast<unsigned char>(letter)) || plain.find(letter) != std::string_view::npos)
        out += letter;
      else if (in_query && letter == ' ')
        out += '+';
      else
        out += fmt::format("%{:02X}", static_cast<unsigned char>(letter));
    }
    return out;
  };
  const Dict* dict = value.as_dict();
  if (dict == nullptr) return Value(encoded(value, false));
  std::string out;
  for (const auto& [key, item] : dict->entries)
    out += (out.empty() ? "" : "&") + encoded(key, true) + "=" + encoded(item, true);
  return Value(std::move(out));
}

}  // namespace

std::span<const Entry<FilterFunction>> text_filters() {
  static constexpr Entry<FilterFunction> kTable[] = {
      {"upper", change_case<to_upper>},
      {"lower", change_case<to_lower>},
      {"capitalize", change_case<capitalize>},
      {"title", change_case<title_after_breaks>},
      {"trim", filter_trim},
      {"replace", filter_replace},
      {"e", filter_escape},
      {"escape", filter_escape},
      {"forceescape", filter_escape},
      {"center", filter_center},
      {"indent", filter_indent},
      {"format", filter_format},
      {"wordcount", filter_wordcount},
      {"truncate", filter_truncate},
      {"urlencode", filter_urlencode},
  };
  return kTable;
}

}  // namespace vlm::jinja
