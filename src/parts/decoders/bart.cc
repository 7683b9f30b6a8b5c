#include "parts/decoders/bart.h"

#include <cmath>

#include "nn/attention.h"

namespace vlm {

namespace {

constexpr int64_t kPositionOffset = 2;  // rows of the table before position 0
constexpr double kNormEps = 1e-5;

BartConfig::Stack read_stack(const Json& json, const std::string& kind) {
  BartConfig::Stack stack;
  stack.num_layers = json.integer(kind + "_layers", 1, 1024, stack.num_layers);
  stack.num_heads = json.integer(kind + "_attention_heads", 1, 1024, stack.num_heads);
  stack.ffn_dim = json.integer(kind + "_ffn_dim", 1, 1 << 20, stack.ffn_dim);
  return stack;
}

Tensor heads_of(const Tensor& x_TD, int64_t num_heads) {
  return x_TD.reshape({x_TD.size(0), num_heads, x_TD.size(1) / num_heads});
}

double scale_of(int64_t width, int64_t num_heads) {
  return 1.0 / std::sqrt(static_cast<double>(width / num_heads));
}

}  // namespace

BartConfig BartConfig::from(const Json& json) {
  BartConfig config;
  config.vocab_size = json.integer("vocab_size", 1, 1 << 24, config.vocab_size);
  config.d_model = json.integer("d_model", 1, 1 << 16, config.d_model);
  config.max_position_embeddings =
      json.integer("max_position_embeddings", 1, 1 << 24, config.max_position_embeddings);
  config.encoder = read_stack(json, "encoder");
  config.decoder = read_stack(json, "decoder");
  config.act = act_from(json.get("activation_function", "gelu"), json.path() + ": activation_function");
  if (json.get("scale_embedding", false)) config.embed_scale = std::sqrt(static_cast<double>(config.d_model));
  config.start_id = json.integer("decoder_start_token_id", 0, config.vocab_size - 1, config.start_id);
  for (const BartConfig::Stack& stack : {config.encoder, config.decoder})
    if (config.d_model % stack.num_heads != 0)
      fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
           "{}: d_model {} does not divide into {} heads", json.path(), config.d_model, stack.num_heads);
  json.require("normalize_before", false);
  json.require("add_final_layer_norm", false);
  json.require("add_bias_logits", false);
  return config;
}

Bart::Bart(const BartConfig& config, const Weights& w) : config_(config) {
  Weights model = w / "model";
  embed_ = nn::Embedding(model / "shared", config.vocab_size, config.d_model);
  encoder_ = make_stack(model / "encoder", config.encoder, /*is_decoder=*/false);
  decoder_ = make_stack(model / "decoder", config.decoder, /*is_decoder=*/true);
  head_ = nn::Linear(model / "shared", config.d_model, config.vocab_size, nn::Bias::none);
  // Further copies of the one table, and a row of zeros.
  for (const char* copy : {"model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
                           "lm_head.weight", "final_logits_bias"})
    w.ignore(copy);
}

Bart::Attention Bart::make_attention(const Weights& w, const char* name, int64_t num_heads) const {
  int64_t width = config_.d_model;
  Weights below = w / name;
  Attention attention;
  attention.q = nn::Linear(below / "q_proj", width, width, nn::Bias::yes);
  attention.k = nn::Linear(below / "k_proj", width, width, nn::Bias::yes);
  attention.v = nn::Linear(below / "v_proj", width, width, nn::Bias::yes);
  attention.out = nn::Linear(below / "out_proj", width, width, nn::Bias::yes);
  attention.norm = nn::Norm(w / (std::string(name) + "_layer_norm"), width, nn::NormKind::layer, kNormEps);
  attention.num_heads = num_heads;
  return attention;
}

Bart::Stack Bart::make_stack(const Weights& w, const BartConfig::Stack& config, bool is_decoder) const {
  int64_t width = config_.d_model;
  Stack stack;
  stack.positions =
      nn::Embedding(w / "embed_positions", config_.max_position_embeddings + kPositionOffset, width);
  stack.norm = nn::Norm(w / "layernorm_embedding", width, nn::NormKind::layer, kNormEps);
  for (int64_t idx = 0; idx < config.num_layers; ++idx) {
    Weights below = w / "layers" / idx;
    Layer layer;
    layer.attention = make_attention(below, "self_attn", config.num_heads);
    if (is_decoder) layer.cross = make_attention(below, "encoder_attn", config.num_heads);
    layer.mlp = nn::Mlp(below, width, config.ffn_dim, config_.act, nn::Bias::yes);
    layer.norm = nn::Norm(below / "final_layer_norm", width, nn::NormKind::layer, kNormEps);
    stack.layers.push_back(std::move(layer));
  }
  return stack;
}

Tensor Bart::embed(const Tensor& ids_T) const {
  Tensor x_TD = embed_(ids_T);
  return config_.embed_scale == 1 ? x_TD : x_TD * config_.embed_scale;
}

Tensor Bart::enter(const Stack& stack, const Tensor& x_TD, const nn::Packed& packed) const {
  Tensor positions_T = packed.positions();
  int64_t last = positions_T.max().item<int64_t>();
  if (last >= config_.max_position_embeddings)
    fail(ErrorKind::bad_request, "shorten the text", "{} tokens, this model reads and writes at most {}",
         last + 1, config_.max_position_embeddings);
  return stack.norm(x_TD + stack.positions(positions_T + kPositionOffset));
}

Tensor Bart::attend(const Attention& attention, const Tensor& x_TD, const nn::Packed& packed, int64_t layer,
                    bool is_causal) const {
  ops::AttentionArgs args;
  args.scale = scale_of(config_.d_model, attention.num_heads);
  args.is_causal = is_causal;
  args.may_round = attention.out.is_rounded();
  Tensor mixed_TD = nn::attend(heads_of(attention.q(x_TD), attention.num_heads),
                               heads_of(attention.k(x_TD), attention.num_heads),
                               heads_of(attention.v(x_TD), attention.num_heads), packed, layer, args);
  return attention.norm(x_TD + attention.out(mixed_TD));
}

Tensor Bart::encode(Tensor x_SD, const nn::Packed& packed) const {
  VLM_SHAPE(x_SD, packed.total(), config_.d_model);
  x_SD = enter(encoder_, x_SD, packed);
  for (size_t idx = 0; idx < encoder_.layers.size(); ++idx) {
    const Layer& layer = encoder_.layers[idx];
    x_SD = attend(layer.attention, x_SD, packed, static_cast<int64_t>(idx), /*is_causal=*/false);
    x_SD = trace::point("hidden/encoder", static_cast<int64_t>(idx), layer.norm(x_SD + layer.mlp(x_SD)));
  }
  return x_SD;
}

CrossMemory Bart::remember(const Tensor& states_SD) const {
  std::vector<Tensor> keys, values;
  for (const Layer& layer : decoder_.layers) {
    keys.push_back(heads_of(layer.cross.k(states_SD), layer.cross.num_heads));
    values.push_back(heads_of(layer.cross.v(states_SD), layer.cross.num_heads));
  }
  return {at::stack(keys), at::stack(values)};
}

Tensor Bart::decode(const Tensor& ids_T, const nn::Packed& packed,
                    const std::vector<CrossMemory>& memories) const {
  Tensor x_TD = enter(decoder_, embed(ids_T), packed);
  for (size_t at = 0; at < decoder_.layers.size(); ++at) {
    const Layer& layer = decoder_.layers[at];
    int64_t idx = static_cast<int64_t>(at), num_heads = layer.cross.num_heads;
    x_TD = attend(layer.attention, x_TD, packed, idx, /*is_causal=*/true);
    Tensor seen_TD = attend_memory(heads_of(layer.cross.q(x_TD), num_heads), packed, memories, idx,
                                   scale_of(config_.d_model, num_heads));
    x_TD = layer.cross.norm(x_TD + layer.cross.out(seen_TD));
    x_TD = trace::point("hidden/decoder", idx, layer.norm(x_TD + layer.mlp(x_TD)));
  }
  packed.advance();
  return x_TD;
}

Tensor Bart::logits(const Tensor& x_TD) const {
  return head_(x_TD);
}

}  // namespace vlm
