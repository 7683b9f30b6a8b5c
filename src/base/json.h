// A view of a JSON document that remembers which keys were read, so that a config key nobody understood is
// reported instead of dropped. Copies are cheap and share the document and the record.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace vlm {

class Json {
 public:
  Json();  // null
  // `name` is how messages call the document ("config.json"). Throws bad_checkpoint with line and column.
  static Json parse(std::string_view text, std::string name);
  static Json read_file(const std::filesystem::path& path);
  static Json wrap(nlohmann::json value, std::string name);

  bool is_null() const;
  bool is_object() const;
  bool is_array() const;
  bool is_string() const;
  bool is_number() const;
  bool is_bool() const;

  // --- objects
  bool has(std::string_view key) const;   // present and not null; does not count as read
  Json at(std::string_view key) const;    // throws bad_checkpoint when absent, naming the nearest key
  Json find(std::string_view key) const;  // null view when absent or null; counts as read
  template <typename T>
  T get(std::string_view key, const T& fallback) const {  // fallback: the reference class's own default
    Json value = find(key);
    return value.is_null() ? fallback : value.as<T>();
  }
  std::string get(std::string_view key, const char* fallback) const {
    return get<std::string>(key, fallback);
  }
  std::vector<std::string> keys() const;  // in document order
  // The key must be absent, null or equal to `value`: for options that no published checkpoint sets
  // otherwise.
  void require(std::string_view key, std::string_view value) const;
  void require(std::string_view key, const char* value) const { require(key, std::string_view(value)); }
  void require(std::string_view key, bool value) const;
  void ignore(std::initializer_list<std::string_view> keys) const;  // known to have no effect here
  void ignore_all() const;                                          // this object and all below it

  // --- arrays
  int64_t size() const;
  Json operator[](int64_t index) const;

  // T: bool, int64_t, double, float, std::string, std::vector<of those>. Throws bad_checkpoint that names
  // path, wanted and found.
  template <typename T>
  T as() const;
  // An integer within [low, high]; sizes from strangers' files pass here before anything is allocated.
  int64_t integer(std::string_view key, int64_t low, int64_t high) const;
  int64_t integer(std::string_view key, int64_t low, int64_t high, int64_t fallback) const;

  const nlohmann::json& raw() const;                 // marks everything below as read
  std::string dump() const;                          // compact text; does not count as read
  const std::string& path() const { return path_; }  // "config.json: text_config.hidden_size"

  // Dotted paths of object keys that nobody asked for, in document order.
  std::vector<std::string> unread() const;

 private:
  struct Document;
  Json(std::shared_ptr<Document> document, const nlohmann::json* node, std::string path);
  [[noreturn]] void wrong_type(const char* wanted) const;

  std::shared_ptr<Document> document_;
  const nlohmann::json* node_;
  std::string path_;
};

template <>
bool Json::as<bool>() const;
template <>
int64_t Json::as<int64_t>() const;
template <>
double Json::as<double>() const;
template <>
float Json::as<float>() const;
template <>
std::string Json::as<std::string>() const;
template <>
std::vector<int64_t> Json::as<std::vector<int64_t>>() const;
template <>
std::vector<double> Json::as<std::vector<double>>() const;
template <>
std::vector<float> Json::as<std::vector<float>>() const;
template <>
std::vector<std::string> Json::as<std::vector<std::string>>() const;

}  // namespace vlm
