// The pre-norm transformer encoder that CLIP, SigLIP, ViT and OpenCLIP share: vision and text towers differ
// in names only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "ops/attention.h"

namespace vlm {

// Tensor names of one layer, below "<layers>.<i>".
struct EncoderNames {
  const char* layers;
  const char* norm1;
  const char* norm2;
  const char* q;  // null: one fused matrix `qkv_weight` [3D, D] and `qkv_bias` [3D]
  const char* k;
  const char* v;
  const char* qkv_weight;
  const char* qkv_bias;
  const char* out;
  nn::MlpNames mlp;
};
inline constexpr EncoderNames kClipNames{.layers = "encoder.layers",
                                         .norm1 = "layer_norm1",
                                         .norm2 = "layer_norm2",
                                         .q = "self_attn.q_proj",
                                         .k = "self_attn.k_proj",
                                         .v = "self_attn.v_proj",
                                         .qkv_weight = nullptr,
                                         .qkv_bias = nullptr,
                                         .out = "self_attn.out_proj",
                                         .mlp = {"mlp.fc1", "mlp.fc2"}};
inline constexpr EncoderNames kVitNames{.layers = "encoder.layer",
                                        .norm1 = "layernorm_before",
                                        .norm2 = "layernorm_after",
                                        .q = "attention.attention.query",
                                        .k = "attention.attention.key",
                                        .v = "attention.attention.value",
                                        .qkv_weight = nullptr,
                                        .qkv_bias = nullptr,
                                        .out = "attention.output.dense",
                                        .mlp = {"intermediate.dense", "output.dense"}};
inline constexpr EncoderNames kOpenClipNames{.layers = "transformer.resblocks",
                                             .norm1 = "ln_1",
                                             .norm2 = "ln_2",
                                             .q = nullptr,
                                             .k = nullptr,
                                             .v = nullptr,
                                             .qkv_weight = "attn.in_proj_weight",
                                             .qkv_bias = "attn.in_proj_bias",
                                             .out = "attn.out_proj",
                                             .mlp = {"mlp.c_fc", "mlp.c_proj"}};

struct EncoderConfig {
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  double layer_norm_eps = 1e-5;
  Act hidden_act = Act::gelu_erf;
  bool is_causal = false;
  bool has_qkv_bias = true;
};

// Of open_clip's vision_cfg and text_cfg.
int64_t open_clip_mlp_width(const Json& json, int64_t width);

class TransformerEncoder {
 public:
  TransformerEncoder() = default;
  TransformerEncoder(const EncoderConfig& config, const EncoderNames& names, const Weights& w);

  // Runs the first `num_layers` layers (all when negative). x [B, S, D]. `trace_name`: where each layer's
  // output is recorded. `key_mask`: bool [B, S], true where a position may be seen; undefined: everywhere.
  Tensor operator()(Tensor x_BSD, const char* trace_name, int64_t num_layers = -1,
                    const Tensor& key_mask = {}) const;
  int64_t num_layers() const { return static_cast<int64_t>(layers_.size()); }

 private:
  struct Layer {
    nn::Norm norm1, norm2;
    nn::Linear q, k, v, qkv, out;
    nn::Mlp mlp;
  };
  Tensor attend(const Layer& layer, const Tensor& x_BSD, const Tensor& key_mask) const;

  EncoderConfig config_;
  std::vector<Layer> layers_;
};

}  // namespace vlm
