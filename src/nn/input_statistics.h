// What flows into the linear layers of a model: the mean square of each input, collected while it runs.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "tensor/tensor.h"

namespace vlm::nn {

class InputSquares {
 public:
  explicit InputSquares(int64_t inputs) : sums_I_(at::zeros({inputs}, at::kDouble)) {}
  void add(const Tensor& x);  // [..., inputs]
  int64_t rows() const { return rows_; }
  Tensor mean() const;  // float32 [inputs]; undefined when nothing was added

 private:
  Tensor sums_I_;
  int64_t rows_ = 0;
};

// By the published name of a layer's matrix. Models run from one thread while they collect.
class InputStatistics {
 public:
  const std::shared_ptr<InputSquares>& of(const std::string& name, int64_t inputs);
  std::map<std::string, Tensor> means() const;

 private:
  std::map<std::string, std::shared_ptr<InputSquares>> layers_;
};

}  // namespace vlm::nn
