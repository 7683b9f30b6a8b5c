#include "parts/connectors/perceiver.h"

#include <cmath>

#include "ops/attention.h"

namespace vlm {

Perceiver::Perceiver(const PerceiverConfig& config, const PerceiverNames& names, const Weights& w)
    : config_(config), latents_QD_(w.take("latents", {config.num_latents, config.width})) {
  int64_t width = config.width, q_width = config.num_heads * config.head_dim,
          kv_width = config.num_groups * config.head_dim;
  auto norm = [&](const Weights& at, int64_t size) { return nn::Norm(at, size, names.norm, config.eps); };
  for (int64_t idx = 0; idx < config.depth; ++idx) {
    Weights at = w / names.layers / idx, attention = at / names.attention;
    Layer layer;
    layer.context_norm = norm(at / names.context_norm, width);
    layer.latents_norm = norm(at / names.latents_norm, width);
    layer.q = nn::Linear(attention / "q_proj", width, q_width, nn::Bias::none);
    layer.k = nn::Linear(attention / "k_proj", width, kv_width, nn::Bias::none);
    layer.v = nn::Linear(attention / "v_proj", width, kv_width, nn::Bias::none);
    layer.out = nn::Linear(attention / names.out, q_width, width, nn::Bias::none);
    if (config.has_qk_norm) {
      layer.q_norm = norm(attention / "q_layer_norm", config.head_dim);
      layer.k_norm = norm(attention / "k_layer_norm", config.head_dim);
    }
    layer.mlp_norm = norm(at / names.mlp_norm, width);
    layer.mlp = nn::Mlp(at / names.mlp, width, config.inner, config.act, nn::Bias::none, names.mlp_names);
    layers_.push_back(std::move(layer));
  }
  last_norm_ = norm(w / names.last_norm, width);
}

Tensor Perceiver::attend(const Layer& layer, const Tensor& latents_NQD, const Tensor& context_NPD,
                         const Tensor& is_real_NS) const {
  Tensor normed_NQD = layer.latents_norm(latents_NQD);
  Tensor read_NSD = at::cat({layer.context_norm(context_NPD), normed_NQD}, 1);
  auto split = [&](const Tensor& x, int64_t heads) {
    return x.view({x.size(0), x.size(1), heads, config_.head_dim});
  };
  Tensor q = split(layer.q(normed_NQD), config_.num_heads), k = split(layer.k(read_NSD), config_.num_groups),
         v = split(layer.v(read_NSD), config_.num_groups);
  if (config_.has_qk_norm) q = layer.q_norm(q), k = layer.k_norm(k);
  ops::AttentionArgs args;
  args.scale = 1.0 / std::sqrt(static_cast<double>(config_.head_dim));
  args.key_mask = is_real_NS;
  args.may_round = layer.out.is_rounded();
  return layer.out(ops::attention(q, k, v, args).flatten(2));
}

Tensor Perceiver::operator()(const Tensor& context_NPD, const Tensor& is_real_NP) const {
  VLM_SHAPE(context_NPD, kAny, kAny, config_.width);
  int64_t num_images = context_NPD.size(0);
  Tensor x_NQD = latents_QD_.unsqueeze(0).expand({num_images, -1, -1}).contiguous();
  Tensor is_real_NS;
  if (is_real_NP.defined())
    is_real_NS = at::cat({is_real_NP, at::ones({num_images, config_.num_latents}, at::kBool)}, 1);
  for (size_t idx = 0; idx < layers_.size(); ++idx) {
    const Layer& layer = layers_[idx];
    x_NQD = x_NQD + attend(layer, x_NQD, context_NPD, is_real_NS);
    x_NQD = x_NQD + layer.mlp(layer.mlp_norm(x_NQD));
    trace::point("hidden/perceiver_layer", static_cast<int64_t>(idx), x_NQD);
  }
  return last_norm_(x_NQD);
}

}  // namespace vlm
