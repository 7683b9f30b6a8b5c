#include <algorithm>

#include "text/jinja_interpreter.h"
#include "text/jinja_library.h"
#include "text/jinja_text.h"

namespace vlm::jinja {

Parameters::Parameters(Interpreter& interpreter, std::string_view function, const Arguments& arguments,
                       std::initializer_list<std::string_view> names, size_t num_required)
    : interpreter_(interpreter), function_(function), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names.size())
    refuse("'{}' takes at most {} arguments, {} were given", function, names.size(),
           arguments.positional.size());
  for (size_t idx = 0; idx < arguments.positional.size(); ++idx) values_[idx] = &arguments.positional[idx];
  for (const auto& [name, value] : arguments.named) {
    auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) refuse("'{}' has no parameter '{}'", function, name);
    const Value*& slot = values_[static_cast<size_t>(found - names.begin())];
    if (slot != nullptr) refuse("'{}' got its parameter '{}' twice", function, name);
    slot = &value;
  }
  for (size_t idx = 0; idx < num_required; ++idx)
    if (values_[idx] == nullptr) refuse("'{}' needs its parameter '{}'", function, names.begin()[idx]);
}

std::string Parameters::text(size_t idx, std::string_view fallback) const {
  return has(idx) ? interpreter_.text_of(at(idx)) : std::string(fallback);
}

const std::string& Parameters::string(size_t idx) const {
  if (!at(idx).is_string()) refuse("'{}' needs a str, not {}", function_, at(idx).type_name());
  return at(idx).text();
}

int64_t Parameters::integer(size_t idx, int64_t fallback) const {
  if (!has_value(idx)) return fallback;
  if (!at(idx).is_integer()) refuse("'{}' needs an integer, not {}", function_, at(idx).type_name());
  return at(idx).integer();
}

std::string pad(Interpreter& interpreter, std::string_view text, int64_t width, char align,
                std::string_view fill) {
  int64_t missing = width - num_characters(text);
  if (missing <= 0) return std::string(text);
  interpreter.budget().check_bytes(width > (int64_t{1} << 40) ? width
                                                              : width * static_cast<int64_t>(fill.size()));
  // str.center puts the odd space left of a text when the width is odd, format's '^' always right of it: 'c'.
  int64_t left = align == '<'   ? 0
                 : align == '>' ? missing
                 : align == 'c' ? missing / 2 + (missing & width & 1)
                                : missing / 2;
  std::string out;
  for (int64_t count = 0; count < left; ++count) out += fill;
  out += text;
  for (int64_t count = left; count < missing; ++count) out += fill;
  return out;
}

std::string replace_all(Interpreter& interpreter, std::string_view text, std::string_view from,
                        std::string_view to, int64_t count) {
  std::string out;
  if (count < 0) count = INT64_MAX;
  interpreter.budget().spend_text(text.size());
  size_t at = 0;
  while (count > 0 && at <= text.size()) {
    size_t found = text.find(from, at);
    if (found == std::string_view::npos) break;
    out += text.substr(at, found - at);
    out += to;
    interpreter.budget().check_bytes(static_cast<int64_t>(out.size()));
    at = found + from.size();
    if (from.empty()) {  // Python puts `to` before each character and at the end
      if (at < text.size()) {
        size_t length = code_point_at(text, at).num_bytes;
        out += text.substr(at, length);
        at += length;
      } else {
        return out;
      }
    }
    --count;
  }
  if (at < text.size()) out += text.substr(at);
  return out;
}

std::string join(Interpreter& interpreter, const std::vector<Value>& items, std::string_view separator) {
  std::string out;
  for (size_t idx = 0; idx < items.size(); ++idx) {
    if (idx > 0) out += separator;
    out += interpreter.text_of(items[idx]);
    interpreter.budget().check_bytes(static_cast<int64_t>(out.size()));
  }
  return out;
}

}  // namespace vlm::jinja
