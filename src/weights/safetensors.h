// The safetensors format: an 8-byte length, a JSON header, and the tensors' bytes without gaps.
// ref: https://github.com/huggingface/safetensors#format
#pragma once

#include <map>
#include <string>

#include "weights/source.h"
#include "weights/source_bytes.h"

namespace vlm {

class SafetensorsFile final : public TensorSource {
 public:
  // Checks the whole header before anything is allocated for tensors.
  explicit SafetensorsFile(FileBytes file);

  std::vector<std::string> names() const override;
  bool has(const std::string& name) const override { return tensors_.count(name) > 0; }
  TensorInfo info(const std::string& name) const override { return find(name).info; }
  Tensor load(const std::string& name) const override;
  std::string describe() const override;
  std::vector<std::filesystem::path> files() const override;
  std::span<const std::byte> mapped_bytes(const std::string& name) const override;

  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  struct Entry {
    TensorInfo info;
    size_t begin = 0;  // in the file
  };
  const Entry& find(const std::string& name) const;
  void check_layout(size_t data_begin) const;

  FileBytes file_;
  std::map<std::string, Entry> tensors_;
  std::map<std::string, std::string> metadata_;
};

// The format's word for an element type ("BF16"); empty for one it has no word for.
std::string safetensors_dtype(at::ScalarType type);

// The place of an element type's tensors in a file, from the widest elements on.
size_t safetensors_order(at::ScalarType type);

// "F32" to float32; throws unsupported for the format's types without a counterpart here (8-bit floats),
// bad_checkpoint for words that the format does not have. `where` begins the message.
at::ScalarType parse_safetensors_dtype(const std::string& word, const std::string& where);

}  // namespace vlm
