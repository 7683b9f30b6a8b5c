// Global functions of templates.
#include <array>
#include <ctime>
#include <unordered_map>

#include "text/jinja_interpreter.h"
#include "text/jinja_library.h"
#include "text/jinja_text.h"

namespace vlm::jinja {

namespace {

constexpr int64_t kMaxRange = 100'000;  // as in the sandbox of transformers

Value raise_exception(Interpreter& interpreter, const Arguments& arguments) {
  Parameters given(interpreter, "raise_exception", arguments, {"message"}, 1);
  fail(ErrorKind::bad_request,
       "change the messages; this is what the chat template of the checkpoint demands", "{}", given.text(0));
}

Value strftime_now(Interpreter& interpreter, const Arguments& arguments) {
  Parameters given(interpreter, "strftime_now", arguments, {"format"}, 1);
  static constexpr std::string_view kKnown = "aAbBcCdDeFgGhHIjlmMnprRStTuUVwWxXyYZz%f";
  const std::string& format = given.string(0);
  std::tm now = interpreter.clock()();
  std::string out;
  for (size_t at = 0; at < format.size(); ++at) {
    size_t flag = format[at] == '%' && at + 1 < format.size() && format[at + 1] == '-';  // "%-d": no padding
    if (format[at] != '%' || at + 1 + flag >= format.size() ||
        kKnown.find(format[at + 1 + flag]) == std::string_view::npos) {
      out += format[at];
      continue;
    }
    char letter = format[at + 1 + flag];
    at += 1 + flag;
    if (letter == 'z' || letter == 'Z') continue;  // a time without zone, as datetime.now() gives
    if (letter == 'f') {
      out += "000000";
      continue;
    }
    std::array<char, 8> piece{'%', flag ? '-' : letter, flag ? letter : '\0', '\0'};
    std::array<char, 128> buffer{};
    out.append(buffer.data(), std::strftime(buffer.data(), buffer.size(), piece.data(), &now));
  }
  return Value(std::move(out));
}

// The entries that namespace(...) and dict(...) take: a dict or pairs, then named ones.
std::vector<std::pair<Value, Value>> collect_entries(Interpreter& interpreter, const char* function,
                                                     const Arguments& arguments) {
  std::vector<std::pair<Value, Value>> pairs;
  if (arguments.positional.size() > 1) refuse("'{}' takes one dict and named values", function);
  if (!arguments.positional.empty()) {
    const Value& first = arguments.positional[0];
    if (auto dict = first.as_dict()) {
      pairs = dict->entries;
    } else {
      for (const Value& item : items_of(first, interpreter.budget())) {
        std::vector<Value> pair = items_of(item, interpreter.budget());
        if (pair.size() != 2) refuse("'{}' needs pairs, one has {} items", function, pair.size());
        pairs.emplace_back(pair[0], pair[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) pairs.emplace_back(Value(name), value);
  interpreter.budget().spend(static_cast<int64_t>(pairs.size()));
  return pairs;
}

Value make_namespace(Interpreter& interpreter, const Arguments& arguments) {
  Namespace* names = interpreter.new_namespace();
  for (auto& [key, value] : collect_entries(interpreter, "namespace", arguments)) {
    if (!key.is_string()) refuse("the names of a namespace are strings, not {}", key.type_name());
    interpreter.budget().spend(static_cast<int64_t>(names->entries.size() >> 3));
    names->set(key.text(), std::move(value));
  }
  return Value(names);
}

Value make_dict(Interpreter& interpreter, const Arguments& arguments) {
  return dict_from_pairs(collect_entries(interpreter, "dict", arguments), interpreter.budget());
}

Value make_range(Interpreter& interpreter, const Arguments& arguments) {
  Parameters given(interpreter, "range", arguments, {"start", "stop", "step"}, 1);
  int64_t begin = given.has(1) ? given.integer(0, 0) : 0;
  int64_t end = given.has(1) ? given.integer(1, 0) : given.integer(0, 0);
  int64_t step = given.integer(2, 1);
  if (step == 0) refuse("the step of a range is zero");
  std::vector<Value> items;
  for (int64_t value = begin; step > 0 ? value < end : value > end;) {
    if (static_cast<int64_t>(items.size()) == kMaxRange)
      fail(ErrorKind::bad_checkpoint, "no published template counts that far",
           "a range of more than {} numbers", kMaxRange);
    items.emplace_back(value);
    if (__builtin_add_overflow(value, step, &value)) break;
  }
  interpreter.budget().spend(static_cast<int64_t>(items.size()));
  return Value::sequence(std::move(items), Sequence::Form::range);
}

Value make_joiner(Interpreter& interpreter, const Arguments& arguments) {
  Parameters given(interpreter, "joiner", arguments, {"sep"});
  std::string separator = given.text(0, ", ");
  return Value::callable("joiner",
                         [separator, used = std::make_shared<bool>(false)](Interpreter&, const Arguments&) {
                           return Value(std::exchange(*used, true) ? separator : std::string());
                         });
}

Value make_cycler(Interpreter& interpreter, const Arguments& arguments) {
  if (arguments.positional.empty()) refuse("'cycler' needs something to go through");
  Namespace* names = interpreter.new_namespace();
  Value items = Value::sequence(arguments.positional);
  auto at = std::make_shared<size_t>(0);
  auto show = [names, items, at](size_t next) {
    *at = next % items.as_sequence()->items.size();
    names->set("current", items.as_sequence()->items[*at]);
  };
  show(0);
  names->set("next", Value::callable(
                         "next",
                         [items, at, show](Interpreter&, const Arguments&) {
                           Value now = items.as_sequence()->items[*at];
                           show(*at + 1);
                           return now;
                         },
                         items));
  names->set("reset", Value::callable(
                          "reset",
                          [show](Interpreter&, const Arguments&) {
                            show(0);
                            return Value(None{});
                          },
                          items));
  return Value(names);
}

}  // namespace

std::optional<Value> find_global(std::string_view name) {
  static const std::unordered_map<std::string_view, Value (*)(Interpreter&, const Arguments&)> table = {
      {"raise_exception", raise_exception},
      {"strftime_now", strftime_now},
      {"namespace", make_namespace},
      {"dict", make_dict},
      {"range", make_range},
      {"joiner", make_joiner},
      {"cycler", make_cycler},
  };
  auto found = table.find(name);
  if (found == table.end()) return std::nullopt;
  return Value::callable(std::string(name), found->second);
}

}  // namespace vlm::jinja
