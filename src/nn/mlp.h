#pragma once

#include "nn/linear.h"
#include "nn/norm.h"
#include "ops/activation.h"

namespace vlm::nn {

// down(act(up x)), or with a gate: down(act(gate x) * up x). Names are those of the checkpoint.
struct MlpNames {
  const char* up = "fc1";
  const char* down = "fc2";
  const char* gate = nullptr;
  const char* norm = nullptr;  // a LayerNorm in front of `down`; null: none
};
inline constexpr MlpNames kLlamaMlp{"up_proj", "down_proj", "gate_proj"};
inline constexpr MlpNames kMixtralExpert{"w3", "w2", "w1"};

class Mlp {
 public:
  Mlp() = default;
  Mlp(const Weights& w, int64_t width, int64_t inner, Act act, Bias bias, MlpNames names = {},
      double norm_eps = 1e-5);
  Tensor operator()(const Tensor& x) const;

 private:
  Tensor run(const Tensor& x) const;

  int64_t inner_ = 0;
  Act act_ = Act::identity;
  Linear up_, down_, gate_;
  Norm norm_;
};

}  // namespace vlm::nn
