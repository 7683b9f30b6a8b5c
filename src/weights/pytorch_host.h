// What the names in a torch.save pickle stand for; private to the reader.
#pragma once

#include "weights/pytorch.h"

namespace vlm {

class PytorchFile::Host final : public PickleHost {
 public:
  explicit Host(const std::string& name) : name_(name) {}

  bool allows(const std::string& global) const override;
  PickleNode* call(const std::string& global, const PickleNode& arguments, PickleArena& arena) override;
  PickleNode* resource(const PickleNode& id, PickleArena& arena) override;

  // The tensor behind a node, or nothing.
  const StoredTensor* tensor(const PickleNode& node) const;
  // Every storage that was named, once each, whole.
  const std::map<std::string, StorageView>& storages() const { return roots_; }

 private:
  [[noreturn]] void refuse(const std::string& what) const;
  const PickleNode& argument(const PickleNode& arguments, size_t idx, PickleNode::Kind kind,
                             const std::string& what) const;
  std::vector<int64_t> integers(const PickleNode& arguments, size_t idx, const std::string& what) const;
  PickleNode* make_tensor(const PickleNode& arguments, bool has_dtype, PickleArena& arena);
  PickleNode* make_dict(const PickleNode& arguments, PickleArena& arena) const;
  PickleNode* first_argument(const PickleNode& arguments, const std::string& what) const;

  const std::string& name_;
  std::vector<StorageView> views_;     // resources 0, 2, 4, ...
  std::vector<StoredTensor> tensors_;  // resources 1, 3, 5, ...
  std::map<std::string, StorageView> roots_;
};

}  // namespace vlm
