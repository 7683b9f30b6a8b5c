#include "train/initial_source.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/hash.h"

namespace vlm {

namespace {

constexpr double kPi = 3.14159265358979323846;

bool ends_with_any(const std::string& text, std::initializer_list<const char*> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](const char* end) { return text.ends_with(end); });
}

// arXiv:1706.03762, section 3.5, for the rows in the first half of the features and the columns in the
// second. A table with one row more than a square has a class token first.
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

// Patch embeddings [V, 3, P, P] that begin as cosine waves (one of brightness, two of colour; long ones
// first), louder the shorter they are: pictures have little of those. Edges then are as visible as areas,
// where random filters show almost nothing but the mean colour.
Tensor wave_filters(const Shape& shape) {
  int64_t width = shape[0], side = shape[2];
  struct Wave {
    int64_t down, across, colour;
    double frequency() const { return std::hypot(static_cast<double>(down), static_cast<double>(across)); }
  };
  std::vector<Wave> waves;
  for (int64_t down = 0; down < side; ++down)
    for (int64_t across = 0; across < side; ++across)
      for (int64_t colour = 0; colour < 3; ++colour) waves.push_back({down, across, colour});
  // Colours are told apart by large areas, shapes by brightness and colour alike.
  std::stable_sort(waves.begin(), waves.end(),
                   [](const Wave& a, const Wave& b) { return a.frequency() < b.frequency(); });
  constexpr double kChannels[3][3] = {{0.577, 0.577, 0.577}, {0.707, 0, -0.707}, {0.408, -0.816, 0.408}};
  Tensor filters = at::zeros(shape);
  auto at = filters.accessor<float, 4>();
  for (int64_t idx = 0; idx < std::min<int64_t>(width, static_cast<int64_t>(waves.size())); ++idx) {
    const Wave& wave = waves[static_cast<size_t>(idx)];
    double gain = (1 + wave.frequency()) / static_cast<double>(side * side);
    for (int64_t y = 0; y < side; ++y) {
      for (int64_t x = 0; x < side; ++x) {
        auto cosine = [&](int64_t cycles, int64_t place) {
          return std::cos(kPi * static_cast<double>(cycles) * (static_cast<double>(place) + 0.5) /
                          static_cast<double>(side));
        };
        double value = gain * cosine(wave.down, y) * cosine(wave.across, x);
        for (int64_t channel = 0; channel < 3; ++channel)
          at[idx][channel][y][x] = static_cast<float>(value * kChannels[wave.colour][channel]);
      }
    }
  }
  return filters;
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
    if (shape.size() == 4 && name.find("patch_embed") != std::string::npos && shape[1] == 3 &&
        shape[2] == shape[3])
      return wave_filters(shape);
    int64_t inputs = 1;
    for (size_t axis = 1; axis < shape.size(); ++axis) inputs *= std::max<int64_t>(shape[axis], 1);
    double deviation = 0.64 / std::sqrt(static_cast<double>(inputs));
    if (shape.size() == 1) deviation = 0.02;
    if (ends_with_any(name, {"o_proj.weight", "out_proj.weight", "down_proj.weight", "fc2.weight",
                             "wo.weight", "attention.dense.weight", "dense_4h_to_h.weight"})) {
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

class OverlaidSource final : public TensorSource {
 public:
  OverlaidSource(std::shared_ptr<const TensorSource> below, std::map<std::string, Tensor> values)
      : below_(std::move(below)), values_(std::move(values)) {}

  std::vector<std::string> names() const override {
    std::set<std::string> names;
    for (const auto& [name, value] : values_) names.insert(name);
    if (below_)
      for (const std::string& name : below_->names()) names.insert(name);
    return {names.begin(), names.end()};
  }
  bool has(const std::string& name) const override {
    return values_.count(name) > 0 || (below_ && below_->has(name));
  }
  TensorInfo info(const std::string& name) const override {
    auto found = values_.find(name);
    if (found == values_.end()) return require_below(name).info(name);
    const Tensor& value = found->second;
    return {value.sizes().vec(), value.scalar_type(), static_cast<int64_t>(value.nbytes())};
  }
  Tensor load(const std::string& name) const override {
    auto found = values_.find(name);
    return found == values_.end() ? require_below(name).load(name) : found->second;
  }
  std::string describe() const override { return "weights of the training run"; }

 private:
  const TensorSource& require_below(const std::string& name) const {
    if (!below_) fail(ErrorKind::not_found, "begin the run anew", "no tensor is called {}", name);
    return *below_;
  }

  std::shared_ptr<const TensorSource> below_;
  std::map<std::string, Tensor> values_;
};

}  // namespace

std::shared_ptr<const TensorSource> initial_source(uint64_t seed, const Json& config) {
  return std::make_shared<InitialSource>(seed, config);
}

std::shared_ptr<const TensorSource> overlaid_source(std::shared_ptr<const TensorSource> below,
                                                    std::map<std::string, Tensor> values,
                                                    const std::string& hidden_prefix) {
  std::erase_if(values, [&](const auto& entry) { return entry.first.starts_with(hidden_prefix); });
  return std::make_shared<OverlaidSource>(std::move(below), std::move(values));
}

}  // namespace vlm
