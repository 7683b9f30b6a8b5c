#pragma once

#include <vector>

#include "nn/mlp.h"

namespace vlm::nn {

// Mixture of experts with a softmax router over all experts; the best `num_active` are mixed with their
// shares renormalised. Ref: transformers MixtralSparseMoeBlock.
class Moe {
 public:
  Moe() = default;
  Moe(const Weights& w, int64_t width, int64_t inner, int64_t num_experts, int64_t num_active, Act act,
      MlpNames expert);
  Tensor operator()(const Tensor& x_TD) const;  // [T, D]; only the chosen experts run
  bool defined() const { return !experts_.empty(); }

 private:
  int64_t num_active_ = 0;
  Linear gate_;
  std::vector<Mlp> experts_;
};

}  // namespace vlm::nn
