// Vision transformers: CLIP's, OpenCLIP's and SigLIP's vision towers and the classic ViT.
//
//   pixels_N3HW --patch conv--> NPV --class token, positions, pre-norm--> x_NSV --layers--> --post-norm-->
//   pooled
//
// N images, P patches, S = P + 1 with a class token, V width.
#pragma once

#include "base/json.h"
#include "parts/encoders/transformer.h"

namespace vlm {

struct VitNames {
  const char* class_token;  // null: none
  const char* patch;        // convolution
  const char* positions;
  const char* pre_norm;  // null: none
  const char* post_norm;
  EncoderNames encoder;
  bool has_leading_axes = false;  // class token and positions are stored as [1, 1, V] and [1, S, V]
};

struct VitConfig {
  EncoderConfig encoder;
  int64_t image_size = 224;
  int64_t patch_size = 16;
  int64_t num_channels = 3;
  bool has_patch_bias = false;
  bool has_attention_pool = false;  // SigLIP's probe that attends over the tokens
  VitNames names;

  // From a config.json's vision part; absent keys take the defaults of the reference's config class.
  static VitConfig clip(const Json& config);
  static VitConfig siglip(const Json& config);
  static VitConfig vit(const Json& config);
  // BLIP's ViT and the EVA ViT-g of BLIP-2 and InstructBLIP, whose defaults differ by model_type.
  static VitConfig blip(const Json& config);
  // open_clip's vision_cfg; the activation stands beside it.
  static VitConfig open_clip(const Json& vision_cfg, Act act);
  // By model_type: clip_vision_model, siglip_vision_model. Throws unsupported.
  static VitConfig tower(const Json& config);

  int64_t grid() const { return image_size / patch_size; }
  int64_t num_patches() const { return grid() * grid(); }
  int64_t num_tokens() const { return num_patches() + (names.class_token ? 1 : 0); }
};

class Vit {
 public:
  Vit() = default;
  Vit(const VitConfig& config, const Weights& w);

  // Entry `layer` of the reference's hidden_states, without the post-norm: 0 is the embedding, -1 the last
  // layer's output, -2 the one before. [N, S, V]. Pictures of another size than the config's need
  // interpolate_positions.
  Tensor hidden_state(const Tensor& pixels_NCHW, int64_t layer, bool interpolate_positions = false) const;
  Tensor last_hidden_state(const Tensor& pixels_NCHW) const;  // [N, S, V], after the post-norm
  // CLIP: post-norm of the class token. SigLIP: the attention pool over the post-normed tokens. [N, V]
  Tensor pooled(const Tensor& pixels_NCHW) const;

 private:
  Tensor embed(const Tensor& pixels_NCHW, bool interpolate_positions) const;
  Tensor positions_for(int64_t rows, int64_t columns, bool interpolate) const;
  Tensor attention_pool(const Tensor& x_NSV) const;

  VitConfig config_;
  Tensor class_token_, patch_weight_, patch_bias_, positions_;
  nn::Norm pre_norm_, post_norm_;
  TransformerEncoder encoder_;
  Tensor probe_;  // [1, 1, V]
  nn::Linear pool_qkv_, pool_out_;
  nn::Norm pool_norm_;
  nn::Mlp pool_mlp_;
};

}  // namespace vlm
