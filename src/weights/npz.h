#pragma once

#include <filesystem>
#include <map>
#include <memory>

#include "weights/source.h"
#include "weights/source_bytes.h"

namespace vlm {

// numpy's archive of arrays (.npz): a zip of .npy files, named without their ending. Numbers in little-endian
// order and rows first; throws unsupported for other arrays, bad_checkpoint for a damaged file.
// ref: numpy.lib.format
class NpzFile final : public TensorSource {
 public:
  explicit NpzFile(FileBytes file);

  std::vector<std::string> names() const override;
  bool has(const std::string& name) const override { return arrays_.count(name) > 0; }
  TensorInfo info(const std::string& name) const override { return at(name).info; }
  Tensor load(const std::string& name) const override;
  std::string describe() const override { return name_; }

 private:
  struct Array {
    TensorInfo info;
    FileBytes file;
    size_t begin = 0;  // of the numbers
  };
  static Array read_array(FileBytes file, const std::string& where);
  const Array& at(const std::string& name) const;

  std::string name_;
  std::map<std::string, Array> arrays_;
};

std::shared_ptr<const TensorSource> open_npz(const std::filesystem::path& file);

}  // namespace vlm
