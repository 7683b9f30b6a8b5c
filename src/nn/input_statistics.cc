#include "nn/input_statistics.h"

namespace vlm::nn {

void InputSquares::add(const Tensor& x) {
  int64_t inputs = sums_I_.size(0);
  if (inputs == 0 || x.numel() == 0) return;
  Tensor rows_TI = x.detach().reshape({-1, inputs}).to(at::kFloat);
  sums_I_ += rows_TI.square().sum(0).to(at::kDouble);
  rows_ += rows_TI.size(0);
}

Tensor InputSquares::mean() const {
  return rows_ == 0 ? Tensor() : (sums_I_ / static_cast<double>(rows_)).to(at::kFloat);
}

const std::shared_ptr<InputSquares>& InputStatistics::of(const std::string& name, int64_t inputs) {
  auto& found = layers_[name];
  if (!found) found = std::make_shared<InputSquares>(inputs);
  return found;
}

std::map<std::string, Tensor> InputStatistics::means() const {
  std::map<std::string, Tensor> all;
  for (const auto& [name, layer] : layers_)
    if (layer->rows() > 0) all.emplace(name, layer->mean());
  return all;
}

}  // namespace vlm::nn
