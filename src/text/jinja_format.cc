// "%s" % values and "{}".format(...), as far as templates use them.
#include <algorithm>
#include <cmath>

#include "text/jinja_interpreter.h"
#include "text/jinja_library.h"
#include "text/jinja_text.h"

namespace vlm::jinja {

namespace {

struct Spec {
  std::string fill = " ";
  char align = '\0';  // '<', '>', '^', '='
  char sign = '-';
  bool alternate = false;
  bool thousands = false;
  int64_t width = 0;
  int64_t precision = -1;
  char type = '\0';
};

// Reads digits; a number that no text needs is refused.
int64_t read_number(std::string_view text, size_t& at) {
  int64_t value = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
    value = value * 10 + (text[at] - '0');
    if (value > 1'000'000) refuse("a width or precision of {} or more", value);
  }
  return value;
}

std::string grouped(std::string digits) {
  size_t end = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (size_t at = end; at > 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string number_body(const Value& value, const Spec& spec, bool& negative) {
  char type = spec.type;
  bool is_whole = type == 'd' || type == 'x' || type == 'X' || type == 'o' || type == 'b';
  if (is_whole || (type == '\0' && value.is_integer())) {
    int64_t number =
        value.is_integer() ? value.integer() : static_cast<int64_t>(std::clamp(value.number(), -9e18, 9e18));
    negative = number < 0;
    uint64_t size = negative ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
    switch (type) {
      case 'x':
        return fmt::format(fmt::runtime(spec.alternate ? "{:#x}" : "{:x}"), size);
      case 'X':
        return fmt::format(fmt::runtime(spec.alternate ? "{:#X}" : "{:X}"), size);
      case 'o':
        return fmt::format("{}{:o}", spec.alternate ? "0o" : "", size);
      case 'b':
        return fmt::format(fmt::runtime(spec.alternate ? "{:#b}" : "{:b}"), size);
      default:
        return fmt::format("{}", size);
    }
  }
  double number = value.number();
  negative = std::signbit(number) && !std::isnan(number);
  number = std::fabs(number);
  if (!std::isfinite(number)) return std::isnan(number) ? "nan" : "inf";
  int64_t precision = std::min<int64_t>(spec.precision < 0 ? 6 : spec.precision, 1000);
  switch (type) {
    case '\0':
      return spec.precision < 0 ? float_text(number)
                                : fmt::format("{:.{}g}", number, std::max<int64_t>(precision, 1));
    case 'e':
      return fmt::format("{:.{}e}", number, precision);
    case 'E':
      return fmt::format("{:.{}E}", number, precision);
    case 'g':
      return fmt::format("{:.{}g}", number, precision);
    case 'G':
      return fmt::format("{:.{}G}", number, precision);
    case '%':
      return fmt::format("{:.{}f}%", number * 100, precision);
    default:
      return fmt::format("{:.{}f}", number, precision);
  }
}

std::string format_number(Interpreter& interpreter, const Value& value, const Spec& spec) {
  bool negative = false;
  std::string body = number_body(value, spec, negative);
  if (spec.thousands) body = grouped(std::move(body));
  std::string sign = negative ? "-" : spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "";
  if (spec.align == '=')
    return sign + pad(interpreter, body, spec.width - static_cast<int64_t>(sign.size()), '>', spec.fill);
  return pad(interpreter, sign + body, spec.width, spec.align == '\0' ? '>' : spec.align, spec.fill);
}

std::string format_text(Interpreter& interpreter, std::string text, const Spec& spec) {
  if (spec.precision >= 0 && spec.precision < num_characters(text))
    text.resize(byte_offset(text, spec.precision));
  return pad(interpreter, text, spec.width, spec.align == '\0' || spec.align == '=' ? '<' : spec.align,
             spec.fill);
}

// --- %

// One conversion behind '%': flags, width, precision, type.
Spec read_percent_spec(std::string_view format, size_t& at) {
  Spec spec;
  spec.align = '>';
  for (; at < format.size() && std::string_view("-+ 0#").find(format[at]) != std::string_view::npos; ++at) {
    if (format[at] == '-') spec.align = '<';
    if (format[at] == '+' || (format[at] == ' ' && spec.sign != '+')) spec.sign = format[at];
    if (format[at] == '#') spec.alternate = true;
    if (format[at] == '0' && spec.align != '<') spec.align = '=';
  }
  if (spec.align == '=') spec.fill = "0";
  spec.width = read_number(format, at);
  if (at < format.size() && format[at] == '.') spec.precision = read_number(format, ++at);
  if (at >= format.size()) refuse("the format {} ends inside a %", quotation(format));
  spec.type = format[at++];
  return spec;
}

std::string convert_percent(Interpreter& interpreter, const Value& value, Spec spec) {
  if (spec.type == 's' || spec.type == 'r') {
    if (spec.align == '=') {
      spec.align = '>';
      spec.fill = " ";
    }
    return format_text(
        interpreter, spec.type == 's' ? interpreter.text_of(value) : repr(value, interpreter.budget()), spec);
  }
  if (spec.type == 'c' && value.is_string()) return format_text(interpreter, value.text(), spec);
  if (std::string_view("diuxXofFeEgG").find(spec.type) == std::string_view::npos)
    refuse("%{} is not a conversion", quotation(std::string_view(&spec.type, 1)));
  bool needs_integer = spec.type == 'x' || spec.type == 'X' || spec.type == 'o';
  if (!value.is_number() || (needs_integer && !value.is_integer()))
    refuse("%{} needs a number, not {}", spec.type, value.type_name());
  if (spec.type == 'i' || spec.type == 'u') spec.type = 'd';
  return format_number(interpreter, value, spec);
}

}  // namespace

std::string format_percent(Interpreter& interpreter, const std::string& format, const Value& values) {
  bool is_tuple = values.as_sequence() != nullptr && std::string_view(values.type_name()) == "tuple";
  std::vector<Value> items = is_tuple ? values.as_sequence()->items : std::vector<Value>{values};
  size_t next = 0;
  std::string out;
  for (size_t at = 0; at < format.size();) {
    if (format[at] != '%') {
      out += format[at++];
      continue;
    }
    ++at;
    const Value* named = nullptr;
    if (at < format.size() && format[at] == '(') {
      size_t close = format.find(')', at);
      if (close == std::string::npos || values.as_dict() == nullptr)
        refuse("%(name) needs a dict and a closing ')'");
      named = values.as_dict()->find(format.substr(at + 1, close - at - 1));
      if (named == nullptr)
        refuse("the format names {}, which is not given", format.substr(at, close - at + 1));
      at = close + 1;
    }
    Spec spec = read_percent_spec(format, at);
    if (spec.type == '%') {
      out += '%';
      continue;
    }
    if (named == nullptr && next >= items.size())
      refuse("the format {} needs more than {} values", quotation(format), next);
    out += convert_percent(interpreter, named != nullptr ? *named : items[next++], spec);
    interpreter.budget().check_bytes(static_cast<int64_t>(out.size()));
  }
  bool may_be_left = values.as_dict() != nullptr || (values.as_sequence() != nullptr && !is_tuple);
  if (next < items.size() && !may_be_left)
    refuse("the format {} needs {} values, {} were given", quotation(format), next, items.size());
  return out;
}

// --- {}

namespace {

Spec read_braces_spec(std::string_view text) {
  Spec spec;
  size_t at = 0;
  auto is_align = [&](size_t where) {
    return where < text.size() && std::string_view("<>^=").find(text[where]) != std::string_view::npos;
  };
  size_t fill = text.empty() ? 0 : code_point_at(text, 0).num_bytes;
  if (fill > 0 && is_align(fill)) {
    spec.fill = std::string(text.substr(0, fill));
    spec.align = text[fill];
    at = fill + 1;
  } else if (is_align(0)) {
    spec.align = text[at++];
  }
  if (at < text.size() && std::string_view("+- ").find(text[at]) != std::string_view::npos)
    spec.sign = text[at++];
  if (at < text.size() && text[at] == '#') spec.alternate = ++at > 0;
  if (at < text.size() && text[at] == '0' && spec.align == '\0') {
    spec.align = '=';
    spec.fill = "0";
  }
  spec.width = read_number(text, at);
  if (at < text.size() && text[at] == ',') spec.thousands = ++at > 0;
  if (at < text.size() && text[at] == '.') spec.precision = read_number(text, ++at);
  if (at < text.size()) spec.type = text[at++];
  if (at < text.size() ||
      (spec.type != '\0' && std::string_view("sdxXobeEfFgG%n").find(spec.type) == std::string_view::npos))
    refuse("the format {} is not understood", quotation(text));
  return spec;
}

class BraceFormatter {
 public:
  BraceFormatter(Interpreter& interpreter, const std::string& format, const Arguments& arguments)
      : interpreter_(interpreter), format_(format), arguments_(arguments) {}

  std::string run() {
    std::string out;
    for (size_t at = 0; at < format_.size();) {
      char letter = format_[at++];
      bool is_double = at < format_.size() && format_[at] == letter;
      if (letter != '{' && letter != '}') {
        out += letter;
      } else if (is_double) {
        out += letter;
        ++at;
      } else if (letter == '}') {
        refuse("a single }} in the format {}", quotation(format_));
      } else {
        size_t close = format_.find('}', at);
        if (close == std::string::npos) refuse("a {{ without }} in the format {}", quotation(format_));
        out += field(std::string_view(format_).substr(at, close - at));
        interpreter_.budget().check_bytes(static_cast<int64_t>(out.size()));
        at = close + 1;
      }
    }
    return out;
  }

 private:
  std::string field(std::string_view text) {
    size_t colon = text.find(':');
    std::string_view spec_text =
        colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
    text = text.substr(0, colon);
    size_t mark = text.find('!');
    char conversion = mark == std::string_view::npos || mark + 1 >= text.size() ? '\0' : text[mark + 1];
    Value value = lookup(text.substr(0, mark));
    Spec spec = read_braces_spec(spec_text);
    if (conversion == 'r') return format_text(interpreter_, repr(value, interpreter_.budget()), spec);
    bool is_plain = spec_text.empty() || conversion == 's';
    if (value.is_number() && !is_plain && spec.type != 's') {
      if (spec.precision >= 0 && value.is_integer() && (spec.type == '\0' || spec.type == 'd'))
        refuse("the format {} gives an integer a precision", quotation(spec_text));
      return format_number(interpreter_, value, spec);
    }
    if (spec.type != '\0' && spec.type != 's')
      refuse("the format {} needs a number, not {}", quotation(spec_text), value.type_name());
    if (!is_plain && !value.is_string())
      refuse("the format {} is not possible for {}", quotation(spec_text), value.type_name());
    return format_text(interpreter_, interpreter_.text_of(value), spec);
  }

  Value lookup(std::string_view path) {
    size_t end = std::min(path.find_first_of(".["), path.size());
    Value value = argument(path.substr(0, end));
    while (end < path.size()) {
      bool is_index = path[end] == '[';
      size_t begin = end + 1;
      end = is_index ? path.find(']', begin) : std::min(path.find_first_of(".[", begin), path.size());
      if (end == std::string_view::npos) refuse("a [ without ] in the format {}", quotation(format_));
      std::string part(path.substr(begin, end - begin));
      int64_t index = 0;
      bool is_number = is_index && parse_integer(part, 10, index);
      value = !is_index ? get_attribute(interpreter_, value, part)
                        : get_item(interpreter_, value, is_number ? Value(index) : Value(part));
      end += is_index;
    }
    return value;
  }

  const Value& argument(std::string_view name) {
    int64_t index = 0;
    if (name.empty() || parse_integer(name, 10, index)) {
      if (name.empty()) index = next_++;
      if (index < 0 || index >= static_cast<int64_t>(arguments_.positional.size()))
        refuse("the format {} needs more than {} values", quotation(format_), arguments_.positional.size());
      return arguments_.positional[static_cast<size_t>(index)];
    }
    for (const auto& [key, value] : arguments_.named)
      if (key == name) return value;
    refuse("the format {} names '{}', which is not given", quotation(format_), name);
  }

  Interpreter& interpreter_;
  const std::string& format_;
  const Arguments& arguments_;
  int64_t next_ = 0;
};

}  // namespace

std::string format_braces(Interpreter& interpreter, const std::string& format, const Arguments& arguments) {
  return BraceFormatter(interpreter, format, arguments).run();
}

}  // namespace vlm::jinja
