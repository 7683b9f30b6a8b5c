#include "parts/encoders/vit.h"

#include <cmath>

#include "parts/encoders/patches.h"

namespace vlm {

namespace {

constexpr VitNames kClip{.class_token = "embeddings.class_embedding",
                         .patch = "embeddings.patch_embedding",
                         .positions = "embeddings.position_embedding.weight",
                         .pre_norm = "pre_layrnorm",  // misspelt in the files
                         .post_norm = "post_layernorm",
                         .encoder = kClipNames};
constexpr VitNames kSiglip{.class_token = nullptr,
                           .patch = "embeddings.patch_embedding",
                           .positions = "embeddings.position_embedding.weight",
                           .pre_norm = nullptr,
                           .post_norm = "post_layernorm",
                           .encoder = kClipNames};
constexpr VitNames kOpenClip{.class_token = "class_embedding",
                             .patch = "conv1",
                             .positions = "positional_embedding",
                             .pre_norm = "ln_pre",
                             .post_norm = "ln_post",
                             .encoder = kOpenClipNames};
constexpr VitNames kClassic{.class_token = "embeddings.cls_token",
                            .patch = "embeddings.patch_embeddings.projection",
                            .positions = "embeddings.position_embeddings",
                            .pre_norm = nullptr,
                            .post_norm = "layernorm",
                            .encoder = kVitNames,
                            .has_leading_axes = true};
constexpr VitNames kBlip{.class_token = "embeddings.class_embedding",
                         .patch = "embeddings.patch_embedding",
                         .positions = "embeddings.position_embedding",
                         .pre_norm = nullptr,
                         .post_norm = "post_layernorm",
                         .encoder = {.layers = "encoder.layers",
                                     .norm1 = "layer_norm1",
                                     .norm2 = "layer_norm2",
                                     .q = nullptr,
                                     .k = nullptr,
                                     .v = nullptr,
                                     .qkv_weight = "self_attn.qkv.weight",
                                     .qkv_bias = "self_attn.qkv.bias",
                                     .out = "self_attn.projection",
                                     .mlp = {"mlp.fc1", "mlp.fc2"}},
                         .has_leading_axes = true};

struct Sizes {
  int64_t hidden_size = 768, intermediate_size = 3072, num_hidden_layers = 12, num_attention_heads = 12,
          image_size = 224, patch_size = 16;
};

void check_sizes(const VitConfig& config, const Json& json) {
  int64_t width = config.encoder.hidden_size, heads = config.encoder.num_attention_heads;
  if (heads < 1 || width % heads != 0)
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "{}: hidden_size {} does not divide into {} heads", json.path(), width, heads);
  if (config.patch_size > config.image_size)
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "{}: patch_size {} exceeds image_size {}", json.path(), config.patch_size, config.image_size);
}

VitConfig read(const Json& json, const VitNames& names, const char* act, double eps, const Sizes& defaults) {
  VitConfig config;
  config.names = names;
  EncoderConfig& encoder = config.encoder;
  encoder.hidden_size = json.integer("hidden_size", 1, 1 << 16, defaults.hidden_size);
  encoder.intermediate_size = json.integer("intermediate_size", 1, 1 << 20, defaults.intermediate_size);
  encoder.num_hidden_layers = json.integer("num_hidden_layers", 1, 1024, defaults.num_hidden_layers);
  encoder.num_attention_heads = json.integer("num_attention_heads", 1, 1024, defaults.num_attention_heads);
  encoder.layer_norm_eps = json.get("layer_norm_eps", eps);
  encoder.hidden_act = act_from(json.get("hidden_act", act), json.path() + ": hidden_act");
  config.image_size = json.integer("image_size", 1, 1 << 14, defaults.image_size);
  config.patch_size = json.integer("patch_size", 1, 1 << 10, defaults.patch_size);
  config.num_channels = json.integer("num_channels", 1, 64, 3);
  check_sizes(config, json);
  return config;
}
}  // namespace

VitConfig VitConfig::clip(const Json& json) {
  return read(json, kClip, "quick_gelu", 1e-5, {.patch_size = 32});
}

VitConfig VitConfig::siglip(const Json& json) {
  VitConfig config = read(json, kSiglip, "gelu_pytorch_tanh", 1e-6, {});
  config.has_patch_bias = true;
  config.has_attention_pool = json.get("vision_use_head", true);
  return config;
}

VitConfig VitConfig::vit(const Json& json) {
  VitConfig config = read(json, kClassic, "gelu", 1e-12, {});
  config.has_patch_bias = true;
  config.encoder.has_qkv_bias = json.get("qkv_bias", true);
  return config;
}

VitConfig VitConfig::blip(const Json& json) {
  constexpr Sizes kBase{.image_size = 384};
  constexpr Sizes kGiant{.hidden_size = 1408,
                         .intermediate_size = 6144,
                         .num_hidden_layers = 39,
                         .num_attention_heads = 16,
                         .patch_size = 14};
  bool is_giant = json.get("model_type", "blip_vision_model") != "blip_vision_model";
  VitConfig config = read(json, kBlip, "gelu", is_giant ? 1e-6 : 1e-5, is_giant ? kGiant : kBase);
  config.has_patch_bias = true;
  config.encoder.has_qkv_bias = json.get("qkv_bias", true);
  return config;
}

VitConfig VitConfig::open_clip(const Json& json, Act act) {
  VitConfig config;
  config.names = kOpenClip;
  EncoderConfig& encoder = config.encoder;
  encoder.hidden_size = json.integer("width", 1, 1 << 16, 768);
  encoder.intermediate_size = open_clip_mlp_width(json, encoder.hidden_size);
  encoder.num_hidden_layers = json.integer("layers", 1, 1024, 12);
  int64_t head_width = json.integer("head_width", 1, 1 << 16, 64);
  encoder.num_attention_heads = encoder.hidden_size / head_width;
  encoder.hidden_act = act;
  config.image_size = json.integer("image_size", 1, 1 << 14, 224);
  config.patch_size = json.integer("patch_size", 1, 1 << 10, 16);
  check_sizes(config, json);
  return config;
}

VitConfig VitConfig::tower(const Json& json) {
  std::string type = json.get("model_type", "clip_vision_model");
  if (type == "clip_vision_model") return clip(json);
  if (type == "siglip_vision_model") return siglip(json);
  fail(ErrorKind::unsupported, "known: clip_vision_model, siglip_vision_model",
       "{}: model_type \"{}\" is not implemented as a vision tower", json.path(), type);
}

Vit::Vit(const VitConfig& config, const Weights& w) : config_(config) {
  const VitNames& names = config.names;
  int64_t width = config.encoder.hidden_size, side = config.patch_size;
  if (names.class_token) {
    class_token_ = names.has_leading_axes ? w.take(names.class_token, {1, 1, width})
                                          : w.take(names.class_token, {width});
    class_token_ = class_token_.reshape({1, 1, width});
  }
  patch_weight_ = w.take(std::string(names.patch) + ".weight", {width, config.num_channels, side, side});
  if (config.has_patch_bias) patch_bias_ = w.take(std::string(names.patch) + ".bias", {width});
  positions_ = names.has_leading_axes ? w.take(names.positions, {1, config.num_tokens(), width})
                                      : w.take(names.positions, {config.num_tokens(), width});
  positions_ = positions_.reshape({config.num_tokens(), width});
  w.ignore("embeddings.position_ids");
  if (names.pre_norm)
    pre_norm_ = nn::Norm(w / names.pre_norm, width, nn::NormKind::layer, config.encoder.layer_norm_eps);
  encoder_ = TransformerEncoder(config.encoder, names.encoder, w);
  post_norm_ = nn::Norm(w / names.post_norm, width, nn::NormKind::layer, config.encoder.layer_norm_eps);
  if (config.has_attention_pool) {
    Weights head = w / "head";
    probe_ = head.take("probe", {1, 1, width});
    pool_qkv_ =
        nn::Linear(head / "attention", "in_proj_weight", "in_proj_bias", width, 3 * width, nn::Bias::yes);
    pool_out_ = nn::Linear(head / "attention.out_proj", width, width, nn::Bias::yes);
    pool_norm_ = nn::Norm(head / "layernorm", width, nn::NormKind::layer, config.encoder.layer_norm_eps);
    pool_mlp_ = nn::Mlp(head / "mlp", width, config.encoder.intermediate_size, config.encoder.hidden_act,
                        nn::Bias::yes);
  }
}

Tensor Vit::positions_for(int64_t rows, int64_t columns, bool interpolate) const {
  int64_t grid = config_.grid();
  if (rows == grid && columns == grid) return positions_;
  if (!interpolate)
    fail(ErrorKind::bad_request, "use the checkpoint's own preprocessor_config.json",
         "the vision tower takes {} x {} patches, the picture has {} x {}", grid, grid, rows, columns);
  int64_t num_class = class_token_.defined() ? 1 : 0, width = positions_.size(1);
  Tensor table =
      positions_.narrow(0, num_class, grid * grid).view({1, grid, grid, width}).permute({0, 3, 1, 2});
  Tensor resized = at::upsample_bicubic2d(table, {rows, columns}, /*align_corners=*/false)
                       .permute({0, 2, 3, 1})
                       .reshape({-1, width});
  return num_class ? at::cat({positions_.narrow(0, 0, 1), resized}) : resized;
}

Tensor Vit::embed(const Tensor& pixels_NCHW, bool interpolate_positions) const {
  VLM_SHAPE(pixels_NCHW, kAny, config_.num_channels, kAny, kAny);
  int64_t num_images = pixels_NCHW.size(0);
  Tensor grid_NhwV = embed_patches(pixels_NCHW, patch_weight_, patch_bias_);
  Tensor x_NSV = grid_NhwV.flatten(1, 2);
  if (class_token_.defined()) x_NSV = at::cat({class_token_.expand({num_images, 1, -1}), x_NSV}, 1);
  x_NSV = x_NSV + positions_for(grid_NhwV.size(1), grid_NhwV.size(2), interpolate_positions);
  return trace::point("hidden/vision/embeddings", pre_norm_.defined() ? pre_norm_(x_NSV) : x_NSV);
}

Tensor Vit::hidden_state(const Tensor& pixels_NCHW, int64_t layer, bool interpolate_positions) const {
  int64_t num_states = encoder_.num_layers() + 1;
  int64_t idx = layer < 0 ? num_states + layer : layer;
  if (idx < 0 || idx >= num_states)
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "vision_feature_layer {} of a tower with {} layers", layer, encoder_.num_layers());
  return encoder_(embed(pixels_NCHW, interpolate_positions), "hidden/vision", idx);
}

Tensor Vit::last_hidden_state(const Tensor& pixels_NCHW) const {
  return post_norm_(hidden_state(pixels_NCHW, -1));
}

Tensor Vit::attention_pool(const Tensor& x_NSV) const {
  int64_t num_images = x_NSV.size(0), width = config_.encoder.hidden_size,
          heads = config_.encoder.num_attention_heads;
  // The fused matrix projects the probe to queries and the tokens to keys and values.
  Tensor q_N1V = pool_qkv_(probe_).narrow(-1, 0, width).expand({num_images, 1, width});
  Tensor kv_NSV = pool_qkv_(x_NSV).narrow(-1, width, 2 * width);
  auto split = [&](const Tensor& t) { return t.reshape({num_images, t.size(1), heads, width / heads}); };
  ops::AttentionArgs args;
  args.scale = 1.0 / std::sqrt(static_cast<double>(width / heads));
  args.may_round = pool_out_.is_rounded();
  Tensor mixed = ops::attention(split(q_N1V), split(kv_NSV.narrow(-1, 0, width)),
                                split(kv_NSV.narrow(-1, width, width)), args);
  Tensor pooled_NV = pool_out_(mixed.reshape({num_images, width}));
  return pooled_NV + pool_mlp_(pool_norm_(pooled_NV));
}

Tensor Vit::pooled(const Tensor& pixels_NCHW) const {
  if (config_.has_attention_pool) return attention_pool(last_hidden_state(pixels_NCHW));
  VLM_CHECK(class_token_.defined());
  return post_norm_(hidden_state(pixels_NCHW, -1).select(1, 0));
}

}  // namespace vlm
