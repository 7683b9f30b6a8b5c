// The values that a template computes with: Python's, as far as templates can tell. Containers do not change
// once they are made (the sandbox in which published templates run forbids it too); only namespaces do, and
// the interpreter owns those, so no cycle of owners can form.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace vlm::jinja {

class Interpreter;
class Value;
struct LoopState;

// Work and memory that one rendering may use.
struct Limits {
  int64_t steps = 10'000'000;
  int64_t text_bytes = int64_t{1} << 26;  // of the output and of each string on the way
};

struct Budget {
  Limits left;
  void spend(int64_t steps);              // throws bad_checkpoint when nothing is left
  void check_bytes(int64_t bytes) const;  // throws bad_checkpoint when one string would be larger
  void spend_text(size_t bytes) { spend(static_cast<int64_t>(bytes >> 6)); }
};

// A value nested deeper than this is refused when it is made: everything that walks values is recursive.
constexpr int kMaxNesting = 200;

// Messages about operations that Python refuses; the messages or the template are to blame.
template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> message, Args&&... args) {
  fail(ErrorKind::bad_request,
       "compare the messages with what this template expects (roles, string or list contents, tools)",
       message, std::forward<Args>(args)...);
}

struct None {};

struct Undefined {
  std::shared_ptr<const std::string> reason;  // "'tools' is undefined"
};

struct Sequence {
  enum class Form : uint8_t { list, tuple, range, keys, values, items, group };
  std::vector<Value> items;
  Form form = Form::list;
  int nesting = 1;
};

struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  int nesting = 1;

  const Value* find(std::string_view key) const;
  const Value* find(const Value& key, Budget& budget) const;
};

// What map, select and their like give: truthy, without length, and empty once it was walked through.
struct Generator {
  std::vector<Value> items;
  size_t next = 0;
  int nesting = 1;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Callable {
  std::string name;
  std::function<Value(Interpreter&, const Arguments&)> function;
  int nesting = 1;
};

struct Namespace {  // owned by the interpreter
  std::vector<std::pair<std::string, Value>> entries;
  Value* find(std::string_view name);
  void set(std::string_view name, Value value);
};

class Value {
 public:
  using Text = std::shared_ptr<const std::string>;
  using Storage = std::variant<Undefined, None, bool, int64_t, double, Text, std::shared_ptr<const Sequence>,
                               std::shared_ptr<const Dict>, std::shared_ptr<Generator>,
                               std::shared_ptr<const Callable>, Namespace*, std::shared_ptr<LoopState>>;

  Value() = default;  // undefined
  Value(None) : storage_(None{}) {}
  Value(bool value) : storage_(value) {}
  Value(int64_t value) : storage_(value) {}
  Value(double value) : storage_(value) {}
  Value(std::string text) : storage_(std::make_shared<const std::string>(std::move(text))) {}
  Value(std::string_view text) : Value(std::string(text)) {}
  Value(const char* text) : Value(std::string(text)) {}
  Value(Namespace* names) : storage_(names) {}
  Value(std::shared_ptr<LoopState> loop) : storage_(std::move(loop)) {}

  static Value undefined(std::string reason);
  static Value sequence(std::vector<Value> items, Sequence::Form form = Sequence::Form::list);
  static Value dict(std::vector<std::pair<Value, Value>> entries);  // keys are known to differ
  static Value generator(std::vector<Value> items);
  // `bound`: what the function keeps, for the limit on nesting.
  static Value callable(std::string name, std::function<Value(Interpreter&, const Arguments&)> function,
                        const Value& bound = Value());
  static Value from_json(const nlohmann::ordered_json& json, int depth = 0);

  template <typename T>
  const T* get() const {
    return std::get_if<T>(&storage_);
  }
  bool is_undefined() const { return get<Undefined>() != nullptr; }
  bool is_none() const { return get<None>() != nullptr; }
  bool is_string() const { return get<Text>() != nullptr; }
  const std::string& text() const { return **get<Text>(); }
  const Sequence* as_sequence() const;
  const Dict* as_dict() const;
  Generator* as_generator() const;
  const Callable* as_callable() const;
  Namespace* as_namespace() const;
  LoopState* as_loop() const;
  bool is_list_like() const;  // list or tuple
  bool is_integer() const;    // bool counts, as in Python
  bool is_number() const;
  int64_t integer() const;  // of an is_integer()
  double number() const;    // of an is_number()

  bool truth() const;
  int nesting() const;
  const char* type_name() const;  // Python's: "str", "dict", "NoneType"

 private:
  Storage storage_;
};

// Python's str() and repr().
std::string to_text(const Value& value, Budget& budget);
void append_repr(std::string& out, const Value& value, Budget& budget);
std::string repr(const Value& value, Budget& budget);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool pretty = false;
  std::string indent;  // of one level, where pretty
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
std::string to_json(const Value& value, const JsonStyle& style, Budget& budget);

bool equal(const Value& left, const Value& right, Budget& budget);
int compare(const Value& left, const Value& right, const char* symbol, Budget& budget);  // < 0, 0, > 0
bool contains(const Value& container, const Value& item, Budget& budget);

// len(); throws where Python does.
int64_t length_of(const Value& value);
// list(): the items of anything that can be walked through; empties a generator.
std::vector<Value> items_of(const Value& value, Budget& budget);
// A dict from pairs; a later key replaces an earlier one, as in Python.
Value dict_from_pairs(std::vector<std::pair<Value, Value>> pairs, Budget& budget);

}  // namespace vlm::jinja
