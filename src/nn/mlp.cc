#include "nn/mlp.h"

namespace vlm::nn {

Mlp::Mlp(const Weights& w, int64_t width, int64_t inner, Act act, Bias bias, MlpNames names, double norm_eps)
    : act_(act), up_(w / names.up, width, inner, bias), down_(w / names.down, inner, width, bias) {
  if (names.gate) gate_ = Linear(w / names.gate, width, inner, bias);
  if (names.norm) norm_ = Norm(w / names.norm, inner, NormKind::layer, norm_eps);
}

Tensor Mlp::operator()(const Tensor& x) const {
  Tensor inner = gate_.defined() ? ops::gated(gate_(x), up_(x), act_) : ops::activate(up_(x), act_);
  return down_(norm_.defined() ? norm_(inner) : inner);
}

}  // namespace vlm::nn
