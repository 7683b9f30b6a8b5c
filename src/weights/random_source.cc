// Values made up from (seed, name, shape): for tests and for training from scratch.
#include <array>
#include <cmath>

#include "base/hash.h"
#include "base/parallel.h"
#include "weights/source.h"

namespace vlm {

namespace {

struct Distribution {
  float mean;
  float deviation;
};

bool contains_any(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words)
    if (text.find(word) != std::string::npos) return true;
  return false;
}

// Not an initialisation for good training, only one where every tensor matters: norms differ from one, biases
// and gates from zero, and activations keep their size from layer to layer.
Distribution distribution_of(const std::string& name, const Shape& shape) {
  std::string leaf = name.substr(name.rfind('.') + 1);
  if (contains_any(leaf, {"running_var"}))
    return {1.0f, 0.05f};  // at least 0.8: deviates by 3.5 of 0.05 at most
  if (contains_any(leaf, {"bias", "running_mean"}) && shape.size() <= 1) return {0.0f, 0.02f};
  if (contains_any(leaf, {"logit_scale", "temperature"})) return {2.0f, 0.1f};
  if (contains_any(leaf, {"gate", "gamma", "alpha", "lambda", "scale"}) && shape.size() <= 1)
    return {0.6f, 0.1f};
  if (shape.size() <= 1)
    return contains_any(name, {"embed", "token", "newline", "query"}) ? Distribution{0.0f, 0.5f}
                                                                      : Distribution{1.0f, 0.1f};
  if (contains_any(name, {"embed", "wte", "wpe", "tokens", "query", "latents", "position"}))
    return {0.0f, 0.5f};
  int64_t fan_in = 1;
  for (size_t axis = 1; axis < shape.size(); ++axis) fan_in *= std::max<int64_t>(shape[axis], 1);
  return {0.0f, 1.0f / std::sqrt(static_cast<float>(fan_in))};
}

uint64_t scramble(uint64_t counter) {  // splitmix64's finalizer: every input bit reaches every output bit
  counter = (counter ^ (counter >> 30)) * 0xbf58476d1ce4e5b9u;
  counter = (counter ^ (counter >> 27)) * 0x94d049bb133111ebu;
  return counter ^ (counter >> 31);
}

// The sum of four uniform 16-bit numbers: normal enough (within 3.5 deviations), and the same on every
// machine, which a logarithm and a cosine are not.
float normal(uint64_t bits) {
  auto sum = static_cast<int32_t>((bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) +
                                  (bits >> 48));
  constexpr float kMean = 131070.0f;
  constexpr float kDeviation = 37837.23f;  // sqrt(4 * (65536^2 - 1) / 12)
  return (static_cast<float>(sum) - kMean) / kDeviation;
}

class RandomSource final : public TensorSource {
 public:
  explicit RandomSource(uint64_t seed) : seed_(seed) {}

  std::vector<std::string> names() const override { return {}; }
  bool has(const std::string&) const override { return true; }
  TensorInfo info(const std::string&) const override { return {}; }
  bool invents_names() const override { return true; }
  std::string describe() const override { return fmt::format("random values of seed {}", seed_); }

  Tensor load(const std::string& name) const override {
    fail(ErrorKind::internal, "", "random values of {} were asked for without a shape", name);
  }

  Tensor load_shaped(const std::string& name, const Shape& shape) const override {
    Distribution wanted = distribution_of(name, shape);
    std::vector<int64_t> key_sizes(shape);
    ContentHash key = hash_bytes(std::as_bytes(std::span(name)), {seed_, 0});
    key = hash_bytes(std::as_bytes(std::span(key_sizes)), key);
    Tensor values = at::empty(shape, at::kFloat);
    float* out = values.data_ptr<float>();
    parallel_for(0, values.numel(), 1 << 16, [&](int64_t first, int64_t last) {
      for (int64_t idx = first; idx < last; ++idx) {
        uint64_t bits = scramble(key.high + static_cast<uint64_t>(idx) * 0x9e3779b97f4a7c15u);
        out[idx] = wanted.mean + wanted.deviation * normal(bits);
      }
    });
    return values;
  }

 private:
  uint64_t seed_;
};

}  // namespace

std::shared_ptr<const TensorSource> random_source(uint64_t seed) {
  return std::make_shared<RandomSource>(seed);
}

}  // namespace vlm
