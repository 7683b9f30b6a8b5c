#include "parts/encoders/text_tower.h"

namespace vlm {

namespace {

// Where a file's eos_token_id is 2 it is wrong, and the reference pools at the largest id of the row.
constexpr int64_t kLegacyEos = 2;

constexpr TextTowerNames kClip{.tokens = "embeddings.token_embedding",
                               .positions = "embeddings.position_embedding.weight",
                               .final_norm = "final_layer_norm",
                               .encoder = kClipNames};
constexpr TextTowerNames kOpenClip{.tokens = "token_embedding",
                                   .positions = "positional_embedding",
                                   .final_norm = "ln_final",
                                   .encoder = kOpenClipNames};

void check_heads(const EncoderConfig& encoder, const Json& json) {
  if (encoder.hidden_size % encoder.num_attention_heads != 0)
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "{}: hidden_size {} does not divide into {} heads", json.path(), encoder.hidden_size,
         encoder.num_attention_heads);
}

TextTowerConfig read(const Json& json, int64_t width, int64_t inner, int64_t heads, int64_t vocab,
                     int64_t positions, const char* act, double eps) {
  TextTowerConfig config;
  config.names = kClip;
  config.encoder.hidden_size = json.integer("hidden_size", 1, 1 << 16, width);
  config.encoder.intermediate_size = json.integer("intermediate_size", 1, 1 << 20, inner);
  config.encoder.num_hidden_layers = json.integer("num_hidden_layers", 1, 1024, 12);
  config.encoder.num_attention_heads = json.integer("num_attention_heads", 1, 1024, heads);
  config.encoder.layer_norm_eps = json.get("layer_norm_eps", eps);
  config.encoder.hidden_act = act_from(json.get("hidden_act", act), json.path() + ": hidden_act");
  config.vocab_size = json.integer("vocab_size", 1, 1 << 24, vocab);
  config.max_position_embeddings = json.integer("max_position_embeddings", 1, 1 << 20, positions);
  check_heads(config.encoder, json);
  return config;
}

}  // namespace

TextTowerConfig TextTowerConfig::clip(const Json& json) {
  TextTowerConfig config = read(json, 512, 2048, 8, 49408, 77, "quick_gelu", 1e-5);
  config.encoder.is_causal = true;
  config.eos_token_id = json.get<int64_t>("eos_token_id", 49407);
  return config;
}

TextTowerConfig TextTowerConfig::siglip(const Json& json) {
  return read(json, 768, 3072, 12, 32000, 64, "gelu_pytorch_tanh", 1e-6);
}

TextTowerConfig TextTowerConfig::open_clip(const Json& json, Act act) {
  TextTowerConfig config;
  config.names = kOpenClip;
  config.encoder.hidden_size = json.integer("width", 1, 1 << 16, 512);
  config.encoder.intermediate_size = open_clip_mlp_width(json, config.encoder.hidden_size);
  config.encoder.num_hidden_layers = json.integer("layers", 1, 1024, 12);
  config.encoder.num_attention_heads = json.integer("heads", 1, 1024, 8);
  config.encoder.hidden_act = act;
  config.encoder.is_causal = true;
  config.vocab_size = json.integer("vocab_size", 1, 1 << 24, 49408);
  config.max_position_embeddings = json.integer("context_length", 1, 1 << 20, 77);
  config.eos_token_id = kLegacyEos;  // always pooled at the largest id
  check_heads(config.encoder, json);
  return config;
}

TextTower::TextTower(const TextTowerConfig& config, const Weights& w)
    : config_(config),
      tokens_(w / config.names.tokens, config.vocab_size, config.encoder.hidden_size),
      positions_(
          w.take(config.names.positions, {config.max_position_embeddings, config.encoder.hidden_size})),
      encoder_(config.encoder, config.names.encoder, w),
      final_norm_(w / config.names.final_norm, config.encoder.hidden_size, nn::NormKind::layer,
                  config.encoder.layer_norm_eps) {
  w.ignore("embeddings.position_ids");
}

Tensor TextTower::operator()(const Tensor& ids_BT) const {
  VLM_SHAPE(ids_BT, kAny, kAny);
  if (ids_BT.size(1) > config_.max_position_embeddings)
    fail(ErrorKind::bad_request, "shorten the text", "the text has {} tokens, the text tower takes {}",
         ids_BT.size(1), config_.max_position_embeddings);
  Tensor x_BTD = tokens_(ids_BT) + positions_.narrow(0, 0, ids_BT.size(1));
  return final_norm_(encoder_(x_BTD, "hidden/text"));
}

Tensor TextTower::pooled(const Tensor& ids_BT) const {
  Tensor x_BTD = (*this)(ids_BT);
  if (!config_.encoder.is_causal) return x_BTD.select(1, ids_BT.size(1) - 1);
  Tensor place = config_.eos_token_id == kLegacyEos
                     ? ids_BT.argmax(-1)
                     : (ids_BT == config_.eos_token_id).to(at::kInt).argmax(-1);
  return x_BTD.index({at::arange(ids_BT.size(0), at::kLong), place});
}

}  // namespace vlm
