// Files of torch.save: the zip format, TorchScript archives, and the format before PyTorch 1.6. Tensors share
// the file; strides and shared storages come out as they were saved. Nothing in the file is executed.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "weights/pickle.h"
#include "weights/source.h"
#include "weights/zip_archive.h"

namespace vlm {

class PytorchFile final : public TensorSource {
 public:
  explicit PytorchFile(FileBytes file);

  std::vector<std::string> names() const override;
  bool has(const std::string& name) const override { return tensors_.count(name) > 0; }
  TensorInfo info(const std::string& name) const override;
  Tensor load(const std::string& name) const override;
  std::string describe() const override;
  std::vector<std::filesystem::path> files() const override { return {file_.name}; }

  struct StorageView {  // elements of one storage, or of a part of it
    std::string key;
    at::ScalarType dtype = at::kByte;
    int64_t begin = 0;  // in elements of the storage
    int64_t elements = 0;
  };
  struct StoredTensor {
    StorageView storage;
    int64_t offset = 0;  // in elements of the view
    Shape shape;
    std::vector<int64_t> strides;
  };

 private:
  class Host;
  struct Region {  // in the file
    uint64_t begin = 0;
    uint64_t bytes = 0;
  };

  void read_zip();
  void read_legacy();
  void collect(const PickleNode* root, const Host& host);
  void check(const std::string& name, const StoredTensor& tensor) const;
  uint64_t storage_bytes(const std::string& key, const std::string& name) const;
  const StoredTensor& find(const std::string& name) const;

  FileBytes file_;
  std::optional<ZipArchive> archive_;
  std::string data_folder_;                // of the archive, with a slash at its end
  std::map<std::string, Region> regions_;  // of the old format, by storage key
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace vlm
