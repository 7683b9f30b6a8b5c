#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "text/jinja_interpreter.h"
#include "text/jinja_text.h"

namespace vlm::jinja {

namespace {

int nesting_above(int below) {
  if (below >= kMaxNesting)
    fail(ErrorKind::bad_request, "no published template or chat nests like this",
         "a value is nested deeper than {} levels", kMaxNesting);
  return below + 1;
}

}  // namespace

void Budget::spend(int64_t steps) {
  left.steps -= steps;
  if (left.steps < 0)
    fail(ErrorKind::bad_checkpoint, "the template does not end, or the chat is far too long for it",
         "the template takes too many steps");
}

void Budget::check_bytes(int64_t bytes) const {
  if (bytes > left.text_bytes)
    fail(ErrorKind::bad_checkpoint,
         "the template grows its text without end, or the chat is far too long for it",
         "the template makes more than {} bytes of text", left.text_bytes);
}

// --- making values

Value Value::undefined(std::string reason) {
  Value value;
  value.storage_ = Undefined{std::make_shared<const std::string>(std::move(reason))};
  return value;
}

Value Value::sequence(std::vector<Value> items, Sequence::Form form) {
  auto sequence = std::make_shared<Sequence>();
  int below = 0;
  for (const Value& item : items) below = std::max(below, item.nesting());
  sequence->nesting = nesting_above(below);
  sequence->items = std::move(items);
  sequence->form = form;
  Value value;
  value.storage_ = std::shared_ptr<const Sequence>(std::move(sequence));
  return value;
}

Value Value::dict(std::vector<std::pair<Value, Value>> entries) {
  auto dict = std::make_shared<Dict>();
  int below = 0;
  for (const auto& [key, item] : entries) below = std::max({below, key.nesting(), item.nesting()});
  dict->nesting = nesting_above(below);
  dict->entries = std::move(entries);
  Value value;
  value.storage_ = std::shared_ptr<const Dict>(std::move(dict));
  return value;
}

Value Value::generator(std::vector<Value> items) {
  auto generator = std::make_shared<Generator>();
  int below = 0;
  for (const Value& item : items) below = std::max(below, item.nesting());
  generator->nesting = nesting_above(below);
  generator->items = std::move(items);
  Value value;
  value.storage_ = std::move(generator);
  return value;
}

Value Value::callable(std::string name, std::function<Value(Interpreter&, const Arguments&)> function,
                      const Value& bound) {
  Value value;
  value.storage_ = std::make_shared<const Callable>(
      Callable{std::move(name), std::move(function), nesting_above(bound.nesting())});
  return value;
}

Value Value::from_json(const nlohmann::ordered_json& json, int depth) {
  if (depth > kMaxNesting - 10) nesting_above(kMaxNesting);
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_integer:
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
        refuse("the integer {} is outside 64 bits", json.get<uint64_t>());
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::number_float:
      return Value(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return Value(json.get_ref<const std::string&>());
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json(item, depth + 1));
      return sequence(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      std::vector<std::pair<Value, Value>> entries;
      entries.reserve(json.size());
      for (const auto& item : json.items())
        entries.emplace_back(item.key(), from_json(item.value(), depth + 1));
      return dict(std::move(entries));
    }
    default:
      return None{};
  }
}

// --- asking values

template <typename T>
static T* held(const std::shared_ptr<T>* pointer) {
  return pointer == nullptr ? nullptr : pointer->get();
}

const Sequence* Value::as_sequence() const {
  return held(get<std::shared_ptr<const Sequence>>());
}
const Dict* Value::as_dict() const {
  return held(get<std::shared_ptr<const Dict>>());
}
Generator* Value::as_generator() const {
  return held(get<std::shared_ptr<Generator>>());
}
const Callable* Value::as_callable() const {
  return held(get<std::shared_ptr<const Callable>>());
}
LoopState* Value::as_loop() const {
  return held(get<std::shared_ptr<LoopState>>());
}
Namespace* Value::as_namespace() const {
  auto names = get<Namespace*>();
  return names == nullptr ? nullptr : *names;
}

bool Value::is_list_like() const {
  const Sequence* sequence = as_sequence();
  return sequence != nullptr &&
         (sequence->form == Sequence::Form::list || sequence->form == Sequence::Form::tuple ||
          sequence->form == Sequence::Form::group);
}

bool Value::is_integer() const {
  return get<int64_t>() != nullptr || get<bool>() != nullptr;
}
bool Value::is_number() const {
  return is_integer() || get<double>() != nullptr;
}
int64_t Value::integer() const {
  return get<bool>() != nullptr ? *get<bool>() : *get<int64_t>();
}
double Value::number() const {
  return is_integer() ? static_cast<double>(integer()) : *get<double>();
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (auto flag = get<bool>()) return *flag;
  if (auto number = get<int64_t>()) return *number != 0;
  if (auto number = get<double>()) return *number != 0;
  if (is_string()) return !text().empty();
  if (auto sequence = as_sequence()) return !sequence->items.empty();
  if (auto dict = as_dict()) return !dict->entries.empty();
  return true;
}

int Value::nesting() const {
  if (auto sequence = as_sequence()) return sequence->nesting;
  if (auto dict = as_dict()) return dict->nesting;
  if (auto generator = as_generator()) return generator->nesting;
  if (auto callable = as_callable()) return callable->nesting;
  if (auto loop = as_loop()) return loop->nesting;
  return 0;
}

const char* Value::type_name() const {
  if (auto sequence = as_sequence()) {
    switch (sequence->form) {
      case Sequence::Form::list:
        return "list";
      case Sequence::Form::tuple:
      case Sequence::Form::group:
        return "tuple";
      case Sequence::Form::range:
        return "range";
      case Sequence::Form::keys:
        return "dict_keys";
      case Sequence::Form::values:
        return "dict_values";
      case Sequence::Form::items:
        return "dict_items";
    }
  }
  static constexpr const char* kNames[] = {"undefined", "NoneType", "bool",      "int",
                                           "float",     "str",      "list",      "dict",
                                           "generator", "function", "namespace", "loop"};
  return kNames[storage_.index()];
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : entries)
    if (name.is_string() && name.text() == key) return &value;
  return nullptr;
}

const Value* Dict::find(const Value& key, Budget& budget) const {
  budget.spend(static_cast<int64_t>(entries.size() >> 3));
  if (key.is_string()) return find(key.text());
  if (key.as_dict() != nullptr ||
      (key.as_sequence() != nullptr && key.as_sequence()->form == Sequence::Form::list))
    refuse("a {} cannot be the key of a dict", key.type_name());
  for (const auto& [name, value] : entries)
    if (equal(name, key, budget)) return &value;
  return nullptr;
}

Value* Namespace::find(std::string_view name) {
  for (auto& [key, value] : entries)
    if (key == name) return &value;
  return nullptr;
}

void Namespace::set(std::string_view name, Value value) {
  if (Value* old = find(name))
    *old = std::move(value);
  else
    entries.emplace_back(std::string(name), std::move(value));
}

Value dict_from_pairs(std::vector<std::pair<Value, Value>> pairs, Budget& budget) {
  Dict dict;
  for (auto& [key, value] : pairs) {
    budget.spend(1);
    if (const Value* old = dict.find(key, budget))
      *const_cast<Value*>(old) = std::move(value);  // `dict` is still ours
    else
      dict.entries.emplace_back(std::move(key), std::move(value));
  }
  return Value::dict(std::move(dict.entries));
}

int64_t length_of(const Value& value) {
  if (value.is_string()) return num_characters(value.text());
  if (auto sequence = value.as_sequence()) return static_cast<int64_t>(sequence->items.size());
  if (auto dict = value.as_dict()) return static_cast<int64_t>(dict->entries.size());
  if (value.is_undefined()) return 0;
  refuse("object of type {} has no length", value.type_name());
}

std::vector<Value> items_of(const Value& value, Budget& budget) {
  std::vector<Value> items;
  if (auto sequence = value.as_sequence()) {
    budget.spend(static_cast<int64_t>(sequence->items.size()));
    return sequence->items;
  }
  if (auto dict = value.as_dict()) {
    for (const auto& entry : dict->entries) items.push_back(entry.first);
  } else if (value.is_string()) {
    budget.spend(static_cast<int64_t>(value.text().size()));
    for (std::string_view letter : characters(value.text())) items.emplace_back(letter);
  } else if (auto generator = value.as_generator()) {
    items.assign(generator->items.begin() + static_cast<int64_t>(generator->next), generator->items.end());
    generator->next = generator->items.size();
  } else if (auto loop = value.as_loop()) {
    while (std::optional<Value> item = loop->advance()) items.push_back(*item);
  } else if (!value.is_undefined()) {
    refuse("{} is not iterable", value.is_none() ? "None" : value.type_name());
  }
  budget.spend(static_cast<int64_t>(items.size()));
  return items;
}

// --- text

std::string to_text(const Value& value, Budget& budget) {
  if (value.is_string()) return value.text();
  if (value.is_undefined()) return "";
  return repr(value, budget);
}

std::string repr(const Value& value, Budget& budget) {
  std::string out;
  append_repr(out, value, budget);
  return out;
}

namespace {

void append_sequence(std::string& out, const Sequence& sequence, Budget& budget) {
  const std::vector<Value>& items = sequence.items;
  if (sequence.form == Sequence::Form::range) {
    int64_t first = items.empty() ? 0 : items.front().integer();
    int64_t step = items.size() < 2 ? 1 : items[1].integer() - first;
    int64_t end = items.empty() ? 0 : items.back().integer() + step;
    out += step == 1 ? fmt::format("range({}, {})", first, end)
                     : fmt::format("range({}, {}, {})", first, end, step);
    return;
  }
  const char* open = "[";
  const char* close = "]";
  if (sequence.form == Sequence::Form::tuple || sequence.form == Sequence::Form::group) {
    open = "(";
    close = items.size() == 1 ? ",)" : ")";
  } else if (sequence.form != Sequence::Form::list) {
    open = sequence.form == Sequence::Form::keys     ? "dict_keys(["
           : sequence.form == Sequence::Form::values ? "dict_values(["
                                                     : "dict_items([";
    close = "])";
  }
  out += open;
  for (size_t idx = 0; idx < items.size(); ++idx) {
    if (idx > 0) out += ", ";
    append_repr(out, items[idx], budget);
  }
  out += close;
}

}  // namespace

void append_repr(std::string& out, const Value& value, Budget& budget) {
  budget.spend(1);
  budget.check_bytes(static_cast<int64_t>(out.size()));
  if (value.is_string()) {
    budget.spend_text(value.text().size());
    out += quotation(value.text());
  } else if (value.is_none()) {
    out += "None";
  } else if (auto flag = value.get<bool>()) {
    out += *flag ? "True" : "False";
  } else if (auto integer = value.get<int64_t>()) {
    out += std::to_string(*integer);
  } else if (auto number = value.get<double>()) {
    out += float_text(*number);
  } else if (auto sequence = value.as_sequence()) {
    append_sequence(out, *sequence, budget);
  } else if (auto dict = value.as_dict()) {
    out += '{';
    for (const auto& [key, item] : dict->entries) {
      if (out.back() != '{' || &key != &dict->entries.front().first) out += ", ";
      append_repr(out, key, budget);
      out += ": ";
      append_repr(out, item, budget);
    }
    out += '}';
  } else if (auto callable = value.as_callable()) {
    out += fmt::format("<{}>", callable->name);
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else {
    out += fmt::format("<{}>", value.type_name());
  }
}

// --- JSON, as json.dumps writes it

namespace {

void append_json_text(std::string& out, std::string_view text, bool ensure_ascii) {
  out += '"';
  for (size_t offset = 0; offset < text.size();) {
    CodePoint letter = code_point_at(text, offset);
    uint32_t value = letter.value;
    if (value == '"' || value == '\\')
      (out += '\\') += static_cast<char>(value);
    else if (value == '\n')
      out += "\\n";
    else if (value == '\r')
      out += "\\r";
    else if (value == '\t')
      out += "\\t";
    else if (value == '\f')
      out += "\\f";
    else if (value == '\b')
      out += "\\b";
    else if (value < 0x20 || (ensure_ascii && value >= 0x7f && value < 0x10000))
      out += fmt::format("\\u{:04x}", value);
    else if (ensure_ascii && value >= 0x10000)
      out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((value - 0x10000) >> 10),
                         0xdc00 + ((value - 0x10000) & 0x3ff));
    else
      out += text.substr(offset, letter.num_bytes);
    offset += letter.num_bytes;
  }
  out += '"';
}

std::string json_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_text(value);
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}

  void write(const Value& value, int level) {
    budget_.spend(1);
    budget_.check_bytes(static_cast<int64_t>(out.size()));
    if (value.is_string()) {
      budget_.spend_text(value.text().size());
      append_json_text(out, value.text(), style_.ensure_ascii);
    } else if (value.is_list_like()) {
      write_list(*value.as_sequence(), level);
    } else if (auto dict = value.as_dict()) {
      write_dict(*dict, level);
    } else {
      out += scalar(value);
    }
  }

  std::string out;

 private:
  static std::string scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (auto flag = value.get<bool>()) return *flag ? "true" : "false";
    if (auto integer = value.get<int64_t>()) return std::to_string(*integer);
    if (auto number = value.get<double>()) return json_float(*number);
    if (value.is_undefined())
      refuse("an undefined value cannot be written as JSON: {}", *value.get<Undefined>()->reason);
    refuse("a {} cannot be written as JSON", value.type_name());
  }

  void new_line(int level) {
    if (!style_.pretty) return;
    budget_.check_bytes(static_cast<int64_t>(out.size()) +
                        level * static_cast<int64_t>(style_.indent.size()));
    out += '\n';
    for (int count = 0; count < level; ++count) out += style_.indent;
  }

  void write_list(const Sequence& sequence, int level) {
    out += '[';
    for (size_t idx = 0; idx < sequence.items.size(); ++idx) {
      if (idx > 0) out += style_.item_separator;
      new_line(level + 1);
      write(sequence.items[idx], level + 1);
    }
    if (!sequence.items.empty()) new_line(level);
    out += ']';
  }

  void write_dict(const Dict& dict, int level) {
    std::vector<std::pair<Value, Value>> entries = dict.entries;
    budget_.spend(static_cast<int64_t>(entries.size()));
    if (style_.sort_keys)
      std::stable_sort(entries.begin(), entries.end(), [&](const auto& left, const auto& right) {
        return compare(left.first, right.first, "<", budget_) < 0;
      });
    out += '{';
    for (size_t idx = 0; idx < entries.size(); ++idx) {
      if (idx > 0) out += style_.item_separator;
      new_line(level + 1);
      const Value& key = entries[idx].first;
      if (key.as_sequence() != nullptr) refuse("a tuple cannot be a key in JSON");
      append_json_text(out, key.is_string() ? key.text() : scalar(key), style_.ensure_ascii);
      out += style_.key_separator;
      write(entries[idx].second, level + 1);
    }
    if (!entries.empty()) new_line(level);
    out += '}';
  }

  const JsonStyle& style_;
  Budget& budget_;
};

}  // namespace

std::string to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  JsonWriter writer(style, budget);
  writer.write(value, 0);
  return std::move(writer.out);
}

// --- comparison

namespace {

bool equal_sequences(const Sequence& left, const Sequence& right, Budget& budget) {
  auto group = [](Sequence::Form form) {
    return form == Sequence::Form::group ? Sequence::Form::tuple : form;
  };
  if (group(left.form) != group(right.form) || left.items.size() != right.items.size()) return false;
  for (size_t idx = 0; idx < left.items.size(); ++idx)
    if (!equal(left.items[idx], right.items[idx], budget)) return false;
  return true;
}

bool equal_dicts(const Dict& left, const Dict& right, Budget& budget) {
  if (left.entries.size() != right.entries.size()) return false;
  for (const auto& [key, value] : left.entries) {
    const Value* other = right.find(key, budget);
    if (other == nullptr || !equal(value, *other, budget)) return false;
  }
  return true;
}

}  // namespace

bool equal(const Value& left, const Value& right, Budget& budget) {
  budget.spend(1);
  if (left.is_number() && right.is_number()) {
    if (left.is_integer() && right.is_integer()) return left.integer() == right.integer();
    return left.number() == right.number();
  }
  if (left.is_string() && right.is_string()) return left.text() == right.text();
  if (left.as_sequence() != nullptr && right.as_sequence() != nullptr)
    return equal_sequences(*left.as_sequence(), *right.as_sequence(), budget);
  if (left.as_dict() != nullptr && right.as_dict() != nullptr)
    return equal_dicts(*left.as_dict(), *right.as_dict(), budget);
  if (left.is_none() || left.is_undefined())
    return left.is_none() == right.is_none() && left.is_undefined() == right.is_undefined();
  if (auto generator = left.as_generator()) return generator == right.as_generator();
  if (auto callable = left.as_callable()) return callable == right.as_callable();
  if (auto names = left.as_namespace()) return names == right.as_namespace();
  if (auto loop = left.as_loop()) return loop == right.as_loop();
  return false;
}

int compare(const Value& left, const Value& right, const char* symbol, Budget& budget) {
  budget.spend(1);
  auto order = [](const auto& one, const auto& other) { return one < other ? -1 : one > other ? 1 : 0; };
  if (left.is_integer() && right.is_integer()) return order(left.integer(), right.integer());
  if (left.is_number() && right.is_number()) return order(left.number(), right.number());
  if (left.is_string() && right.is_string()) return order(left.text(), right.text());
  if (left.is_list_like() && right.is_list_like() &&
      std::string_view(left.type_name()) == right.type_name()) {
    const std::vector<Value>& one = left.as_sequence()->items;
    const std::vector<Value>& other = right.as_sequence()->items;
    for (size_t idx = 0; idx < one.size() && idx < other.size(); ++idx)
      if (!equal(one[idx], other[idx], budget)) return compare(one[idx], other[idx], symbol, budget);
    return order(one.size(), other.size());
  }
  for (const Value* side : {&left, &right})
    if (side->is_undefined()) refuse("{}", *side->get<Undefined>()->reason);
  refuse("{} is not possible between {} and {}", symbol, left.type_name(), right.type_name());
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  if (container.is_string()) {
    if (!item.is_string()) refuse("'in <str>' needs a str on the left, not {}", item.type_name());
    budget.spend_text(container.text().size());
    return container.text().find(item.text()) != std::string::npos;
  }
  if (auto dict = container.as_dict()) return dict->find(item, budget) != nullptr;
  if (auto sequence = container.as_sequence()) {
    for (const Value& other : sequence->items)
      if (equal(other, item, budget)) return true;
    return false;
  }
  for (const Value& other : items_of(container, budget))
    if (equal(other, item, budget)) return true;
  return false;
}

}  // namespace vlm::jinja
