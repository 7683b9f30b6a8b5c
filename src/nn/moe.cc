#include "nn/moe.h"

namespace vlm::nn {

Moe::Moe(const Weights& w, int64_t width, int64_t inner, int64_t num_experts, int64_t num_active, Act act,
         MlpNames expert)
    : num_active_(num_active), gate_(w / "gate", width, num_experts, Bias::none) {
  for (int64_t idx = 0; idx < num_experts; ++idx)
    experts_.emplace_back(w / "experts" / idx, width, inner, act, Bias::none, expert);
}

Tensor Moe::operator()(const Tensor& x_TD) const {
  Tensor shares_TX = at::softmax(gate_(x_TD), -1);
  auto [best_TK, experts_TK] = shares_TX.topk(num_active_, -1);
  best_TK = best_TK / best_TK.sum(-1, true);
  Tensor mixed_TD = at::zeros_like(x_TD);
  for (size_t idx = 0; idx < experts_.size(); ++idx) {
    Tensor chosen =
        (experts_TK == static_cast<int64_t>(idx)).nonzero();  // [n, 2]: token, rank among its choices
    if (chosen.size(0) == 0) continue;
    Tensor token = chosen.select(1, 0);
    Tensor share = best_TK.index({token, chosen.select(1, 1)}).unsqueeze(1);
    mixed_TD = mixed_TD.index_add(0, token, experts_[idx](x_TD.index_select(0, token)) * share);
  }
  return mixed_TD;
}

}  // namespace vlm::nn
