#include "parts/fusion/gated_cross_attention.h"

#include <cmath>

#include "ops/attention.h"

namespace vlm {

GatedCrossAttention::GatedCrossAttention(const GatedCrossAttentionConfig& config, const Weights& w)
    : config_(config) {
  Weights attention = w / "cross_attn";
  int64_t width = config.width;
  auto norm = [&](const Weights& at, int64_t size) {
    return nn::Norm(at, size, nn::NormKind::rms, config.eps);
  };
  norm1_ = norm(w / "input_layernorm", width);
  norm2_ = norm(w / "post_attention_layernorm", width);
  q_ = nn::Linear(attention / "q_proj", width, width, nn::Bias::none);
  k_ = nn::Linear(attention / "k_proj", config.feature_width, width, nn::Bias::none);
  v_ = nn::Linear(attention / "v_proj", config.feature_width, width, nn::Bias::none);
  out_ = nn::Linear(attention / "o_proj", width, width, nn::Bias::none);
  if (config.has_qk_norm) {
    q_norm_ = norm(attention / "q_layer_norm", width / config.num_heads);
    k_norm_ = norm(attention / "k_layer_norm", width / config.num_heads);
  }
  mlp_ = nn::Mlp(w / "mlp", width, config.inner, config.act, nn::Bias::none, nn::kLlamaMlp);
  Shape gate = config.has_vector_gate ? Shape{1, 1, width} : Shape{1};
  attention_gate_ = w.take("alpha_cross_attn", gate).flatten();
  mlp_gate_ = w.take("alpha_dense", gate).flatten();
}

GatedCrossAttention::Memory GatedCrossAttention::remember(const Tensor& features_NSV) const {
  VLM_SHAPE(features_NSV, kAny, kAny, config_.feature_width);
  auto split = [&](const Tensor& x_NSD) {
    return x_NSD.view({x_NSD.size(0), x_NSD.size(1), config_.num_heads, -1});
  };
  Tensor k_NSAE = split(k_(features_NSV));
  return {config_.has_qk_norm ? k_norm_(k_NSAE) : k_NSAE, split(v_(features_NSV))};
}

Tensor GatedCrossAttention::operator()(const Tensor& x_TD, const std::vector<Span>& spans) const {
  Tensor q_TAE = q_(norm1_(x_TD)).view({x_TD.size(0), config_.num_heads, -1});
  if (config_.has_qk_norm) q_TAE = q_norm_(q_TAE);
  ops::AttentionArgs args;
  args.scale = 1.0 / std::sqrt(static_cast<double>(q_TAE.size(2)));
  args.may_round = out_.is_rounded();
  std::vector<Tensor> read;
  int64_t begin = 0;
  for (const Span& span : spans) {
    if (span.image < 0) {
      read.push_back(at::zeros({span.count, config_.width}));
    } else {
      Tensor q = q_TAE.narrow(0, begin, span.count).unsqueeze(0);
      read.push_back(ops::attention(q, span.memory->k_NSAE.narrow(0, span.image, 1),
                                    span.memory->v_NSAE.narrow(0, span.image, 1), args)
                         .reshape({span.count, config_.width}));
    }
    begin += span.count;
  }
  VLM_CHECK(begin == x_TD.size(0), "spans of {} tokens over {}", begin, x_TD.size(0));
  Tensor y_TD = x_TD + attention_gate_.tanh() * out_(at::cat(read));
  return y_TD + mlp_gate_.tanh() * mlp_(norm2_(y_TD));
}

}  // namespace vlm
