#include "parts/encoders/transformer.h"

#include <cmath>

#include "ops/residual.h"

namespace vlm {

int64_t open_clip_mlp_width(const Json& json, int64_t width) {
  double ratio = json.get("mlp_ratio", 4.0);
  if (!(ratio > 0 && ratio < 64))
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: mlp_ratio {} is out of range (0, 64)", json.path(), ratio);
  return static_cast<int64_t>(static_cast<double>(width) * ratio);
}

TransformerEncoder::TransformerEncoder(const EncoderConfig& config, const EncoderNames& names,
                                       const Weights& w)
    : config_(config) {
  int64_t width = config.hidden_size;
  nn::Bias bias = config.has_qkv_bias ? nn::Bias::yes : nn::Bias::none;
  for (int64_t idx = 0; idx < config.num_hidden_layers; ++idx) {
    Weights at_layer = w / names.layers / idx;
    Layer layer;
    layer.norm1 = nn::Norm(at_layer / names.norm1, width, nn::NormKind::layer, config.layer_norm_eps);
    layer.norm2 = nn::Norm(at_layer / names.norm2, width, nn::NormKind::layer, config.layer_norm_eps);
    if (names.q) {
      layer.q = nn::Linear(at_layer / names.q, width, width, bias);
      layer.k = nn::Linear(at_layer / names.k, width, width, bias);
      layer.v = nn::Linear(at_layer / names.v, width, width, bias);
    } else {
      layer.qkv = nn::Linear(at_layer, names.qkv_weight, names.qkv_bias, width, 3 * width, bias);
    }
    layer.out = nn::Linear(at_layer / names.out, width, width, nn::Bias::yes);
    layer.mlp =
        nn::Mlp(at_layer, width, config.intermediate_size, config.hidden_act, nn::Bias::yes, names.mlp);
    layers_.push_back(std::move(layer));
  }
}

Tensor TransformerEncoder::attend(const Layer& layer, const Tensor& x_BSD, const Tensor& key_mask) const {
  int64_t heads = config_.num_attention_heads, head_width = config_.hidden_size / heads;
  std::vector<Tensor> parts = layer.qkv.defined() ? layer.qkv(x_BSD).chunk(3, -1)
                                                  : nn::apply_together(x_BSD, {&layer.q, &layer.k, &layer.v});
  auto split = [&](const Tensor& t) { return t.reshape({t.size(0), t.size(1), heads, head_width}); };
  ops::AttentionArgs args;
  args.scale = 1.0 / std::sqrt(static_cast<double>(head_width));
  args.is_causal = config_.is_causal;
  args.key_mask = key_mask;
  args.may_round = layer.out.is_rounded();
  return layer.out(
      ops::attention(split(parts[0]), split(parts[1]), split(parts[2]), args).reshape(x_BSD.sizes()));
}

Tensor TransformerEncoder::operator()(Tensor x_BSD, const char* trace_name, int64_t num_layers,
                                      const Tensor& key_mask) const {
  int64_t count = num_layers < 0 ? this->num_layers() : num_layers;
  for (int64_t idx = 0; idx < count; ++idx) {
    const Layer& layer = layers_[static_cast<size_t>(idx)];
    x_BSD = ops::add_residual(x_BSD, attend(layer, layer.norm1(x_BSD), key_mask));
    x_BSD = trace::point(trace_name, idx, ops::add_residual(x_BSD, layer.mlp(layer.norm2(x_BSD))));
  }
  return x_BSD;
}

}  // namespace vlm
