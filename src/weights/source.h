// Where tensors come from: files of a checkpoint, or names and shapes alone.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace vlm {

struct TensorInfo {
  Shape shape;
  at::ScalarType dtype = at::kFloat;  // of the file; block-quantised GGUF types appear as float32
  int64_t file_bytes = 0;             // what it takes in the file
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual std::vector<std::string> names() const = 0;  // sorted
  virtual bool has(const std::string& name) const = 0;
  virtual TensorInfo info(const std::string& name) const = 0;  // throws not_found
  // The stored values; may share the file's mapping (then read-only: copy before writing).
  virtual Tensor load(const std::string& name) const = 0;
  virtual std::string describe() const = 0;  // "model-00001-of-00002.safetensors and 1 more", for messages
  // The files that values are read from, in an order of their own; empty for sources without any.
  virtual std::vector<std::filesystem::path> files() const { return {}; }
  // Where a mapping of a file holds just what load() gives; empty where load() makes it.
  virtual std::span<const std::byte> mapped_bytes(const std::string& name) const {
    (void)name;
    return {};
  }

  // True for a source without a list of names: has() is always true, names() is empty, info() has no shape,
  // and only load_shaped() gives values.
  virtual bool invents_names() const { return false; }
  // True for names and shapes without values (manifests): readers skip work on values.
  virtual bool is_abstract() const { return false; }
  // The values for a reader who knows the shape; differs from load() only where the source makes them up.
  virtual Tensor load_shaped(const std::string& name, const Shape& shape) const {
    (void)shape;
    return load(name);
  }
};

// The weights of a checkpoint folder (or of one file): model.safetensors[.index.json],
// pytorch_model.bin[.index.json],
// *.safetensors / *.bin / *.pth / *.pt / *.gguf when there is exactly one family of them. Every header is
// validated first.
std::shared_ptr<const TensorSource> open_weights(const std::filesystem::path& folder_or_file);

std::shared_ptr<const TensorSource> open_safetensors(const std::filesystem::path& file);
// Names the state dict's tensors by their dotted path; a wrapping "state_dict" or "model" dictionary stays in
// the name.
std::shared_ptr<const TensorSource> open_pytorch(const std::filesystem::path& file);
std::shared_ptr<const TensorSource> open_gguf(const std::filesystem::path& file);

// Never degenerate values that depend only on (seed, name, shape): no zero gates, no unit norms.
std::shared_ptr<const TensorSource> random_source(uint64_t seed);
// Names and shapes of a manifest (manifests/README.md); load() gives zeros without memory behind them
// (expanded).
std::shared_ptr<const TensorSource> shapes_source(const std::filesystem::path& manifest_json_gz);

}  // namespace vlm
