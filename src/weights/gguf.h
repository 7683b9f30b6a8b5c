// GGUF files (versions 1 to 3): typed metadata, and tensors that share the file or are expanded to float32.
// ref: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "weights/dequantise.h"
#include "weights/source.h"
#include "weights/source_bytes.h"

namespace vlm {

struct GgufValue {
  std::variant<bool, int64_t, double, std::string, std::vector<bool>, std::vector<int64_t>,
               std::vector<double>, std::vector<std::string>, std::vector<GgufValue>>
      value;
};

class GgufMetadata {
 public:
  explicit GgufMetadata(std::string file_name = "") : name_(std::move(file_name)) {}

  bool has(const std::string& key) const { return values_.count(key) > 0; }
  std::vector<std::string> keys() const;  // sorted

  // Throw bad_checkpoint when the key is missing or of another type. Integers are read as numbers too.
  bool get_bool(const std::string& key) const;
  int64_t get_int(const std::string& key) const;
  double get_float(const std::string& key) const;
  const std::string& get_string(const std::string& key) const;
  const std::vector<bool>& get_bools(const std::string& key) const;
  const std::vector<int64_t>& get_ints(const std::string& key) const;
  std::vector<float> get_floats(const std::string& key) const;
  const std::vector<std::string>& get_strings(const std::string& key) const;
  const GgufValue& get(const std::string& key) const;

  // With what to take when the key is missing.
  bool get_bool(const std::string& key, bool fallback) const { return has(key) ? get_bool(key) : fallback; }
  int64_t get_int(const std::string& key, int64_t fallback) const {
    return has(key) ? get_int(key) : fallback;
  }
  double get_float(const std::string& key, double fallback) const {
    return has(key) ? get_float(key) : fallback;
  }
  std::string get_string(const std::string& key, const std::string& fallback) const {
    return has(key) ? get_string(key) : fallback;
  }

  bool add(std::string key, GgufValue value);  // false when the key is there already

 private:
  template <typename Wanted>
  const Wanted& typed(const std::string& key, const char* wanted) const;

  std::string name_;
  std::map<std::string, GgufValue> values_;
};

class GgufFile final : public TensorSource {
 public:
  explicit GgufFile(FileBytes file);  // checks the whole header

  const GgufMetadata& metadata() const { return metadata_; }

  std::vector<std::string> names() const override;
  bool has(const std::string& name) const override { return tensors_.count(name) > 0; }
  // Shapes are in PyTorch's order: the file's first size is the last one here.
  TensorInfo info(const std::string& name) const override { return find(name).info; }
  Tensor load(const std::string& name) const override;
  std::string describe() const override;
  std::vector<std::filesystem::path> files() const override { return {file_.name}; }

  const char* type_name(const std::string& name) const { return find(name).type_name; }  // "Q4_K", "F16"
  std::span<const std::byte> raw(const std::string& name) const;                         // as in the file

 private:
  struct Entry {
    TensorInfo info;
    const char* type_name = "";
    const BlockFormat* blocks = nullptr;  // null for plain elements
    uint64_t offset = 0;                  // in the data
    uint64_t begin = 0;                   // in the file
  };
  class Header;
  const Entry& find(const std::string& name) const;
  void place(uint64_t data_begin, uint64_t alignment);

  FileBytes file_;
  GgufMetadata metadata_;
  std::map<std::string, Entry> tensors_;
};

}  // namespace vlm
