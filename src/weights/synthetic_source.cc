#include "weights/synthetic_source.h"

#include <chrono>

namespace vlm {

SyntheticSource::SyntheticSource(std::map<std::string, TensorInfo> tensors, uint64_t seed)
    : tensors_(std::move(tensors)), values_(random_source(seed)) {}

std::vector<std::string> SyntheticSource::names() const {
  std::vector<std::string> sorted;
  for (const auto& item : tensors_) sorted.push_back(item.first);
  return sorted;
}

TensorInfo SyntheticSource::info(const std::string& name) const {
  auto found = tensors_.find(name);
  if (found == tensors_.end())
    fail(ErrorKind::not_found, "list the names that are there", "no made-up tensor {}", name);
  return found->second;
}

Tensor SyntheticSource::load(const std::string& name) const {
  auto start = std::chrono::steady_clock::now();
  TensorInfo wanted = info(name);
  Tensor values = values_->load_shaped(name, wanted.shape).to(wanted.dtype);
  seconds_ = seconds_ + std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return values;
}

}  // namespace vlm
