// Tensors of given names and shapes with made-up values: a published model's size without its weights.
#pragma once

#include <atomic>
#include <map>

#include "weights/source.h"

namespace vlm {

class SyntheticSource final : public TensorSource {
 public:
  // Values depend on seed, name and shape (random_source) and are made anew at every load, in the tensor's
  // type.
  SyntheticSource(std::map<std::string, TensorInfo> tensors, uint64_t seed);

  std::vector<std::string> names() const override;
  bool has(const std::string& name) const override { return tensors_.count(name) > 0; }
  TensorInfo info(const std::string& name) const override;
  Tensor load(const std::string& name) const override;
  std::string describe() const override { return "made-up weights"; }

  double seconds() const { return seconds_; }  // spent on making values

 private:
  std::map<std::string, TensorInfo> tensors_;
  std::shared_ptr<const TensorSource> values_;
  mutable std::atomic<double> seconds_{0};
};

}  // namespace vlm
