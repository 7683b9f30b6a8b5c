#include "nn/mlp.h"

namespace vlm::nn {

Mlp::Mlp(const Weights& w, int64_t width, int64_t inner, Act act, Bias bias, MlpNames names)
    : act_(act), up_(w / names.up, width, inner, bias), down_(w / names.down, inner, width, bias) {
  if (names.gate) gate_ = Linear(w / names.gate, width, inner, bias);
}

Tensor Mlp::operator()(const Tensor& x) const {
  if (!gate_.defined()) return down_(ops::activate(up_(x), act_));
  return down_(ops::gated(gate_(x), up_(x), act_));
}

}  // namespace vlm::nn
