// Perceiver resamplers: a fixed number of learnt queries read any number of features.
//
//   latents_QD --[attention over features and latents, MLP] x L--> --norm--> rows_NQD
//
// N pictures, P features of each, Q latents, D width, A query heads, G key heads, E head width.
#pragma once

#include <vector>

#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace vlm {

struct PerceiverConfig {
  int64_t width = 0;
  int64_t inner = 0;  // of the MLP
  int64_t depth = 0;
  int64_t num_latents = 0;
  int64_t num_heads = 0;
  int64_t num_groups = 0;
  int64_t head_dim = 0;
  double eps = 1e-5;
  Act act = Act::silu;
  bool has_qk_norm = false;  // a LayerNorm for all heads of q, one for k
};

// How the two kinds are published.
struct PerceiverNames {
  const char* layers;
  const char* attention;  // below a layer
  const char* context_norm;
  const char* latents_norm;
  const char* out;
  const char* mlp_norm;
  const char* mlp;
  nn::MlpNames mlp_names;
  const char* last_norm;
  nn::NormKind norm;
};
// Idefics2: layers as LLaMA's, with grouped queries, RMS norms and a gated MLP.
inline constexpr PerceiverNames kLlamaPerceiver{.layers = "layers",
                                                .attention = "self_attn",
                                                .context_norm = "input_context_norm",
                                                .latents_norm = "input_latents_norm",
                                                .out = "o_proj",
                                                .mlp_norm = "post_attention_layernorm",
                                                .mlp = "mlp",
                                                .mlp_names = nn::kLlamaMlp,
                                                .last_norm = "norm",
                                                .norm = nn::NormKind::rms};
// IDEFICS, after Flamingo: LayerNorms, which lie inside the attention and the MLP.
inline constexpr PerceiverNames kFlamingoPerceiver{.layers = "blocks",
                                                   .attention = "0",
                                                   .context_norm = "0.context_layer_norm",
                                                   .latents_norm = "0.latents_layer_norm",
                                                   .out = "output_proj",
                                                   .mlp_norm = "1.ln",
                                                   .mlp = "1",
                                                   .mlp_names = {"fc", "c_proj"},
                                                   .last_norm = "layer_norm",
                                                   .norm = nn::NormKind::layer};

class Perceiver {
 public:
  Perceiver() = default;
  Perceiver(const PerceiverConfig& config, const PerceiverNames& names, const Weights& w);

  // is_real_NP: bool, the features that may be read; undefined: all.
  Tensor operator()(const Tensor& context_NPD, const Tensor& is_real_NP = {}) const;  // [N, Q, D]

 private:
  struct Layer {
    nn::Norm context_norm, latents_norm, q_norm, k_norm, mlp_norm;
    nn::Linear q, k, v, out;
    nn::Mlp mlp;
  };
  Tensor attend(const Layer& layer, const Tensor& latents_NQD, const Tensor& context_NPD,
                const Tensor& is_real_NS) const;

  PerceiverConfig config_;
  Tensor latents_QD_;
  std::vector<Layer> layers_;
  nn::Norm last_norm_;
};

}  // namespace vlm
