#include "weights/gguf.h"

namespace vlm {

namespace {

constexpr const char* kCompareHint = "compare with a published conversion of the model";

}  // namespace

std::vector<std::string> GgufMetadata::keys() const {
  std::vector<std::string> sorted;
  for (const auto& item : values_) sorted.push_back(item.first);
  return sorted;
}

bool GgufMetadata::add(std::string key, GgufValue value) {
  return values_.emplace(std::move(key), std::move(value)).second;
}

const GgufValue& GgufMetadata::get(const std::string& key) const {
  auto found = values_.find(key);
  if (found != values_.end()) return found->second;
  std::string near = nearest_word(key, keys());
  fail(ErrorKind::bad_checkpoint, near.empty() ? kCompareHint : "the nearest key is " + quoted_name(near),
       "{}: the metadata have no key {}", name_, key);
}

template <typename Wanted>
const Wanted& GgufMetadata::typed(const std::string& key, const char* wanted) const {
  const Wanted* value = std::get_if<Wanted>(&get(key).value);
  if (!value)
    fail(ErrorKind::bad_checkpoint, kCompareHint, "{}: metadata key {} is not {}", name_, key, wanted);
  return *value;
}

bool GgufMetadata::get_bool(const std::string& key) const {
  return typed<bool>(key, "true or false");
}
int64_t GgufMetadata::get_int(const std::string& key) const {
  return typed<int64_t>(key, "an integer");
}
double GgufMetadata::get_float(const std::string& key) const {
  if (std::holds_alternative<int64_t>(get(key).value)) return static_cast<double>(get_int(key));
  return typed<double>(key, "a number");
}
const std::string& GgufMetadata::get_string(const std::string& key) const {
  return typed<std::string>(key, "a text");
}
const std::vector<bool>& GgufMetadata::get_bools(const std::string& key) const {
  return typed<std::vector<bool>>(key, "a list of true and false");
}
const std::vector<int64_t>& GgufMetadata::get_ints(const std::string& key) const {
  return typed<std::vector<int64_t>>(key, "a list of integers");
}
const std::vector<std::string>& GgufMetadata::get_strings(const std::string& key) const {
  return typed<std::vector<std::string>>(key, "a list of texts");
}
std::vector<float> GgufMetadata::get_floats(const std::string& key) const {
  if (const auto* whole = std::get_if<std::vector<int64_t>>(&get(key).value))
    return std::vector<float>(whole->begin(), whole->end());
  const auto& values = typed<std::vector<double>>(key, "a list of numbers");
  return std::vector<float>(values.begin(), values.end());
}

}  // namespace vlm
