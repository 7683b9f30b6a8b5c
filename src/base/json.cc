#include "base/json.h"

#include <mutex>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/error.h"
#include "base/files.h"

namespace vlm {

using nlohmann::json;

struct Json::Document {
  json root;
  std::mutex mutex;
  std::unordered_set<const json*> read;
  std::unordered_set<const json*> read_below;
};

namespace {

// nlohmann parses recursively; a document nested deeper than this is an attack, not a config.
constexpr int kMaxDepth = 200;

void check_depth(std::string_view text, const std::string& name) {
  int depth = 0;
  bool in_string = false;
  for (size_t at = 0; at < text.size(); ++at) {
    char letter = text[at];
    if (in_string) {
      if (letter == '\\')
        ++at;
      else if (letter == '"')
        in_string = false;
    } else if (letter == '"') {
      in_string = true;
    } else if (letter == '[' || letter == '{') {
      if (++depth > kMaxDepth)
        fail(ErrorKind::bad_checkpoint, "no published file nests like this; get the file again",
             "{}: nested deeper than {} levels", name, kMaxDepth);
    } else if (letter == ']' || letter == '}') {
      --depth;
    }
  }
}

const char* type_of(const json& node) {
  return node.type_name();
}

}  // namespace

Json::Json() : document_(std::make_shared<Document>()), node_(&document_->root), path_("(nothing)") {}

Json::Json(std::shared_ptr<Document> document, const json* node, std::string path)
    : document_(std::move(document)), node_(node), path_(std::move(path)) {}

Json Json::parse(std::string_view text, std::string name) {
  check_depth(text, name);
  auto document = std::make_shared<Document>();
  try {
    document->root = json::parse(text.begin(), text.end());
  } catch (const json::parse_error& error) {
    fail(ErrorKind::bad_checkpoint, "the file is damaged or is not JSON; get it again",
         "{}: not valid JSON at byte {} of {}", name, error.byte, text.size());
  } catch (const json::exception&) {  // a number beyond double
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: holds a number that is too large", name);
  }
  const json* root = &document->root;
  return Json(std::move(document), root, std::move(name));
}

Json Json::read_file(const std::filesystem::path& path) {
  return parse(read_text(path), path.filename().string());
}

Json Json::wrap(json value, std::string name) {
  auto document = std::make_shared<Document>();
  document->root = std::move(value);
  const json* root = &document->root;
  return Json(std::move(document), root, std::move(name));
}

bool Json::is_null() const {
  return node_->is_null();
}
bool Json::is_object() const {
  return node_->is_object();
}
bool Json::is_array() const {
  return node_->is_array();
}
bool Json::is_string() const {
  return node_->is_string();
}
bool Json::is_number() const {
  return node_->is_number();
}
bool Json::is_bool() const {
  return node_->is_boolean();
}

void Json::wrong_type(const char* wanted) const {
  std::string found = node_->dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 60);
  fail(ErrorKind::bad_checkpoint, "compare the file with the published one", "{}: expected {}, found {} {}",
       path_, wanted, type_of(*node_), found);
}

bool Json::has(std::string_view key) const {
  if (!node_->is_object()) return false;
  auto found = node_->find(key);
  return found != node_->end() && !found->is_null();
}

Json Json::find(std::string_view key) const {
  if (node_->is_null()) return Json();
  if (!node_->is_object()) wrong_type("an object");
  auto found = node_->find(key);
  if (found == node_->end()) return Json();
  {
    std::lock_guard lock(document_->mutex);
    document_->read.insert(&*found);
  }
  return Json(document_, &*found, path_ + (node_ == &document_->root ? ": " : ".") + std::string(key));
}

Json Json::at(std::string_view key) const {
  Json value = find(key);
  if (!value.is_null()) return value;
  std::string near = nearest_word(std::string(key), keys());
  fail(ErrorKind::bad_checkpoint,
       near.empty() ? "compare the file with the published one" : "the nearest key is " + near,
       "{}: the key {} is missing", path_, key);
}

std::vector<std::string> Json::keys() const {
  std::vector<std::string> names;
  if (node_->is_object())
    for (const auto& item : node_->items()) names.push_back(item.key());
  return names;
}

void Json::require(std::string_view key, std::string_view value) const {
  Json found = find(key);
  if (found.is_null() || (found.is_string() && found.as<std::string>() == value)) return;
  fail(ErrorKind::unsupported,
       "no published checkpoint used it when this was written; report the checkpoint's name",
       "{} = {} is not implemented (known: \"{}\")", found.path(), found.dump(), value);
}

void Json::require(std::string_view key, bool value) const {
  Json found = find(key);
  if (found.is_null() || (found.is_bool() && found.as<bool>() == value)) return;
  fail(ErrorKind::unsupported,
       "no published checkpoint used it when this was written; report the checkpoint's name",
       "{} = {} is not implemented (known: {})", found.path(), found.dump(), value);
}

void Json::ignore(std::initializer_list<std::string_view> keys) const {
  for (std::string_view key : keys) find(key).ignore_all();
}

void Json::ignore_all() const {
  std::lock_guard lock(document_->mutex);
  document_->read_below.insert(node_);
}

int64_t Json::size() const {
  return node_->is_array() || node_->is_object() ? static_cast<int64_t>(node_->size()) : 0;
}

Json Json::operator[](int64_t index) const {
  if (!node_->is_array()) wrong_type("a list");
  if (index < 0 || index >= size())
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: has {} entries, entry {} was asked for", path_, size(), index);
  return Json(document_, &(*node_)[static_cast<size_t>(index)], fmt::format("{}[{}]", path_, index));
}

template <>
bool Json::as<bool>() const {
  if (!node_->is_boolean()) wrong_type("true or false");
  return node_->get<bool>();
}
template <>
int64_t Json::as<int64_t>() const {
  if (node_->is_number_integer()) {
    if (node_->is_number_unsigned() && node_->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
      wrong_type("an integer below 2^63");
    return node_->get<int64_t>();
  }
  if (node_->is_number_float()) {  // some writers store 32.0
    double value = node_->get<double>();
    if (value == static_cast<double>(static_cast<int64_t>(std::max(-9e18, std::min(9e18, value)))))
      return static_cast<int64_t>(value);
  }
  wrong_type("an integer");
}
template <>
double Json::as<double>() const {
  if (!node_->is_number()) wrong_type("a number");
  return node_->get<double>();
}
template <>
float Json::as<float>() const {
  return static_cast<float>(as<double>());
}
template <>
std::string Json::as<std::string>() const {
  if (!node_->is_string()) wrong_type("a string");
  return node_->get<std::string>();
}

namespace {
template <typename T>
std::vector<T> list_of(const Json& list) {
  std::vector<T> values;
  for (int64_t idx = 0; idx < list.size(); ++idx) values.push_back(list[idx].as<T>());
  return values;
}
}  // namespace

template <>
std::vector<int64_t> Json::as<std::vector<int64_t>>() const {
  if (!node_->is_array()) wrong_type("a list of integers");
  return list_of<int64_t>(*this);
}
template <>
std::vector<double> Json::as<std::vector<double>>() const {
  if (!node_->is_array()) wrong_type("a list of numbers");
  return list_of<double>(*this);
}
template <>
std::vector<float> Json::as<std::vector<float>>() const {
  if (!node_->is_array()) wrong_type("a list of numbers");
  return list_of<float>(*this);
}
template <>
std::vector<std::string> Json::as<std::vector<std::string>>() const {
  if (!node_->is_array()) wrong_type("a list of strings");
  return list_of<std::string>(*this);
}

int64_t Json::integer(std::string_view key, int64_t low, int64_t high) const {
  Json value = at(key);
  int64_t number = value.as<int64_t>();
  if (number < low || number > high)
    fail(ErrorKind::bad_checkpoint,
         "no published model is of that size; compare the file with the published one",
         "{} = {} is out of range [{}, {}]", value.path(), number, low, high);
  return number;
}

int64_t Json::integer(std::string_view key, int64_t low, int64_t high, int64_t fallback) const {
  return find(key).is_null() ? fallback : integer(key, low, high);
}

const json& Json::raw() const {
  ignore_all();
  return *node_;
}

std::string Json::dump() const {
  return node_->dump(-1, ' ', false, json::error_handler_t::replace);
}

std::vector<std::string> Json::unread() const {
  std::vector<std::string> names;
  std::lock_guard lock(document_->mutex);
  auto walk = [&](auto&& self, const json& node, const std::string& prefix) -> void {
    if (document_->read_below.count(&node)) return;
    if (node.is_object()) {
      for (const auto& item : node.items()) {
        std::string name = prefix.empty() ? item.key() : prefix + "." + item.key();
        const json& child = item.value();
        if (document_->read_below.count(&child)) continue;
        if (!document_->read.count(&child))
          names.push_back(name);
        else
          self(self, child, name);
      }
    } else if (node.is_array()) {
      for (const json& child : node) self(self, child, prefix + "[]");
    }
  };
  walk(walk, *node_, "");
  return names;
}

}  // namespace vlm
