#include "train/initial_source.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/hash.h"

namespace vlm {

namespace {

bool ends_with_any(const std::string& text, std::initializer_list<const char*> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](const char* end) { return text.ends_with(end); });
}

// arXiv:1706.03762, section 3.5, for the rows in the first half of the features and the columns in the second.
// A table with one row more than a square has a class token first.
Tensor grid_positions(int64_t rows, int64_t width) {
  auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(rows)));
  int64_t first = rows - side * side;
  Tensor table = at::zeros({rows, width});
  auto at = table.accessor<float, 2>();
  int64_t quarter = width / 4;
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) {
      for (int64_t idx = 0; idx < quarter; ++idx) {
        // Waves from a quarter of the grid's side to many sides: cells near each other differ as well.
        double frequency = 2.0 * std::pow(100.0, -static_cast<double>(idx) / static_cast<double>(quarter));
        int64_t row = first + y * side + x;
        at[row][idx] = static_cast<float>(0.5 * std::sin(frequency * static_cast<double>(y)));
        at[row][quarter + idx] = static_cast<float>(0.5 * std::cos(frequency * static_cast<double>(y)));
        at[row][2 * quarter + idx] = static_cast<float>(0.5 * std::sin(frequency * static_cast<double>(x)));
        at[row][3 * quarter + idx] = static_cast<float>(0.5 * std::cos(frequency * static_cast<double>(x)));
      }
    }
  }
  return table;
}

class InitialSource final : public TensorSource {
 public:
  InitialSource(uint64_t seed, const Json& config) : seed_(seed), noise_(random_source(seed)) {
    auto layers = [&](const char* part) {
      Json below = config.find(part);
      return below.is_object() ? below.get<int64_t>("num_hidden_layers", 12)
                               : config.get<int64_t>("num_hidden_layers", 12);
    };
    vision_layers_ = std::max<int64_t>(1, layers("vision_config"));
    text_layers_ = std::max<int64_t>(1, layers("text_config"));
  }

  std::vector<std::string> names() const override { return {}; }
  bool has(const std::string&) const override { return true; }
  TensorInfo info(const std::string&) const override { return {}; }
  bool invents_names() const override { return true; }
  std::string describe() const override { return fmt::format("initial values of seed {}", seed_); }
  Tensor load(const std::string& name) const override {
    fail(ErrorKind::internal, "", "initial values of {} were asked for without a shape", name);
  }

  Tensor load_shaped(const std::string& name, const Shape& shape) const override {
    bool is_bias = name.ends_with("bias");
    if (shape.empty()) return noise_->load_shaped(name, shape);  // temperatures
    if (is_bias) return at::zeros(shape);
    if (shape.size() == 1 && name.ends_with("weight")) return at::ones(shape);  // norms
    if (shape.size() == 2 && name.find("position") != std::string::npos &&
        name.find("text") == std::string::npos && shape[1] % 4 == 0 && is_grid(shape[0]))
      return grid_positions(shape[0], shape[1]);
    int64_t inputs = 1;
    for (size_t axis = 1; axis < shape.size(); ++axis) inputs *= std::max<int64_t>(shape[axis], 1);
    double deviation = 0.64 / std::sqrt(static_cast<double>(inputs));
    if (shape.size() == 1) deviation = 0.02;
    if (ends_with_any(name, {"o_proj.weight", "out_proj.weight", "down_proj.weight", "fc2.weight", "wo.weight",
                             "attention.dense.weight", "dense_4h_to_h.weight"})) {
      int64_t layers = name.find("vision") != std::string::npos ? vision_layers_ : text_layers_;
      deviation /= std::sqrt(2.0 * static_cast<double>(layers));
    }
    // random_source() knows the shape's own deviation; only its directions are taken.
    Tensor values = noise_->load_shaped(name, shape);
    double mean = values.mean().item<double>();
    double spread = values.numel() > 1 ? values.std(false).item<double>() : 1.0;
    return (values - mean) * (deviation / std::max(spread, 1e-12));
  }

 private:
  static bool is_grid(int64_t rows) {
    auto side = static_cast<int64_t>(std::sqrt(static_cast<double>(rows)));
    return side >= 2 && rows - side * side <= 1;
  }

  uint64_t seed_;
  std::shared_ptr<const TensorSource> noise_;
  int64_t vision_layers_ = 12, text_layers_ = 12;
};

class MemorySource final : public TensorSource {
 public:
  explicit MemorySource(std::vector<std::pair<std::string, Tensor>> tensors) {
    for (auto& [name, tensor] : tensors) tensors_[name] = std::move(tensor);
  }
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors_) names.push_back(name);
    return names;
  }
  bool has(const std::string& name) const override { return tensors_.count(name) > 0; }
  TensorInfo info(const std::string& name) const override {
    const Tensor& tensor = find(name);
    return {tensor.sizes().vec(), tensor.scalar_type(), static_cast<int64_t>(tensor.nbytes())};
  }
  Tensor load(const std::string& name) const override { return find(name); }
  std::string describe() const override { return "weights in memory"; }

 private:
  const Tensor& find(const std::string& name) const {
    auto found = tensors_.find(name);
    if (found == tensors_.end()) fail(ErrorKind::not_found, "", "no tensor is called {}", name);
    return found->second;
  }
  std::map<std::string, Tensor> tensors_;
};

}  // namespace

std::shared_ptr<const TensorSource> initial_source(uint64_t seed, const Json& config) {
  return std::make_shared<InitialSource>(seed, config);
}

std::shared_ptr<const TensorSource> memory_source(std::vector<std::pair<std::string, Tensor>> tensors) {
  return std::make_shared<MemorySource>(std::move(tensors));
}

}  // namespace vlm
