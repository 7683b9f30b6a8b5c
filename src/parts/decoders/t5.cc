#include "parts/decoders/t5.h"

#include <cmath>

namespace vlm {

T5Config T5Config::from(const Json& json) {
  std::string type = json.get("model_type", "t5");
  bool is_v1 = type == "t5";
  if (!is_v1 && type != "mt5" && type != "umt5")
    fail(ErrorKind::unsupported, "known: t5, mt5, umt5", "{}: model_type \"{}\"", json.path(), type);
  T5Config config;
  config.vocab_size = json.integer("vocab_size", 1, 1 << 24, is_v1 ? 32128 : 250112);
  config.d_model = json.integer("d_model", 1, 1 << 17, 512);
  config.d_kv = json.integer("d_kv", 1, 1 << 16, 64);
  config.d_ff = json.integer("d_ff", 1, 1 << 20, is_v1 ? 2048 : 1024);
  config.num_layers = json.integer("num_layers", 1, 1024, is_v1 ? 6 : 8);
  config.num_decoder_layers = json.integer("num_decoder_layers", 1, 1024, config.num_layers);
  config.num_heads = json.integer("num_heads", 1, 1024, is_v1 ? 8 : 6);
  config.num_buckets = json.integer("relative_attention_num_buckets", 4, 1 << 16, 32);
  config.max_distance = json.integer("relative_attention_max_distance", 1, 1 << 20, 128);
  if (config.max_distance <= config.num_buckets / 2)
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "{}: relative_attention_max_distance {} for {} buckets", json.path(), config.max_distance,
         config.num_buckets);
  config.n_positions = json.integer("n_positions", 1, 1 << 26, 512);
  config.start_id = json.integer("decoder_start_token_id", 0, 1 << 24, json.get<int64_t>("pad_token_id", 0));
  config.norm_eps = json.get("layer_norm_epsilon", 1e-6);
  // "gated-gelu" means the tanh form, unless the config names the function as well (BLIP-2: "gelu", erf).
  std::string projection = json.get("feed_forward_proj", is_v1 ? "relu" : "gated-gelu");
  config.is_gated = projection.starts_with("gated-");
  std::string act = config.is_gated ? projection.substr(std::string("gated-").size()) : projection;
  if (config.is_gated && act == "gelu") act = "gelu_new";
  config.act = act_from(json.get("dense_act_fn", act), json.path() + ": dense_act_fn");
  config.is_tied = json.get("tie_word_embeddings", is_v1);
  config.has_bias_in_every_layer = type == "umt5";
  json.ignore({"is_gated_act", "is_encoder_decoder", "output_past", "task_specific_params"});
  return config;
}

T5::T5(const T5Config& config, const Weights& w)
    : config_(config), embed_(w / "shared", config.vocab_size, config.d_model) {
  encoder_ = make_stack(w / "encoder", config.num_layers, false);
  decoder_ = make_stack(w / "decoder", config.num_decoder_layers, true);
  head_ = nn::Linear(config.is_tied ? w / "shared" : w / "lm_head", config.d_model, config.vocab_size,
                     nn::Bias::none);
  if (config.is_tied) w.ignore("lm_head.weight");
  w.ignore("encoder.embed_tokens.weight");  // copies of "shared"
  w.ignore("decoder.embed_tokens.weight");
  w.ignore("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight");  // without effect
}

T5::Attention T5::make_attention(const Weights& w, bool has_bias) const {
  int64_t width = config_.d_model, inner = config_.num_heads * config_.d_kv;
  Attention attention{nn::Linear(w / "q", width, inner, nn::Bias::none),
                      nn::Linear(w / "k", width, inner, nn::Bias::none),
                      nn::Linear(w / "v", width, inner, nn::Bias::none),
                      nn::Linear(w / "o", inner, width, nn::Bias::none),
                      {}};
  if (has_bias)
    attention.bias_BA = w.take("relative_attention_bias.weight", {config_.num_buckets, config_.num_heads});
  return attention;
}

T5::Stack T5::make_stack(const Weights& w, int64_t num_layers, bool is_decoder) const {
  auto norm = [&](const Weights& at) {
    return nn::Norm(at, config_.d_model, nn::NormKind::rms, config_.norm_eps);
  };
  nn::MlpNames mlp{"wi", "wo"};
  if (config_.is_gated) mlp = {"wi_1", "wo", "wi_0"};
  Stack stack;
  for (int64_t idx = 0; idx < num_layers; ++idx) {
    Weights sublayers = w / "block" / idx / "layer";
    Layer layer;
    layer.attention =
        make_attention(sublayers / 0 / "SelfAttention", idx == 0 || config_.has_bias_in_every_layer);
    layer.norm1 = norm(sublayers / 0 / "layer_norm");
    if (is_decoder) {
      layer.cross = make_attention(sublayers / 1 / "EncDecAttention", false);
      layer.cross_norm = norm(sublayers / 1 / "layer_norm");
    }
    Weights last = sublayers / (is_decoder ? 2 : 1);
    layer.mlp =
        nn::Mlp(last / "DenseReluDense", config_.d_model, config_.d_ff, config_.act, nn::Bias::none, mlp);
    layer.norm2 = norm(last / "layer_norm");
    stack.layers.push_back(std::move(layer));
  }
  stack.final_norm = norm(w / "final_layer_norm");
  return stack;
}

// Distances share buckets: small ones have one each, larger ones on a logarithmic scale up to max_distance.
// The encoder has half the buckets for either direction; the decoder looks back only. [1, A, T, S]
Tensor T5::relative_bias(const Tensor& bias_BA, int64_t past, int64_t count, bool is_decoder) const {
  int64_t total = past + count, buckets = is_decoder ? config_.num_buckets : config_.num_buckets / 2;
  Tensor relative_TS =
      at::arange(total, at::kLong).unsqueeze(0) - at::arange(past, total, at::kLong).unsqueeze(1);
  Tensor distance_TS = is_decoder ? (-relative_TS).clamp_min(0) : relative_TS.abs();
  int64_t exact = buckets / 2;
  double spread = std::log(static_cast<double>(config_.max_distance) / static_cast<double>(exact));
  Tensor far_TS = (at::log(distance_TS.clamp_min(1).to(at::kFloat) / static_cast<double>(exact)) / spread *
                   static_cast<double>(buckets - exact))
                      .to(at::kLong);
  Tensor bucket_TS = at::where(distance_TS < exact, distance_TS, (far_TS + exact).clamp_max(buckets - 1));
  if (!is_decoder) bucket_TS = bucket_TS + (relative_TS > 0).to(at::kLong) * buckets;
  return bias_BA.index_select(0, bucket_TS.flatten())
      .view({count, total, -1})
      .permute({2, 0, 1})
      .unsqueeze(0);
}

// `biases`: of every sequence, kept from the layer that has its own.
Tensor T5::attend(const Stack& stack, int64_t idx, const Tensor& x_TD, const nn::Packed& packed,
                  bool is_decoder, std::vector<Tensor>& biases) const {
  const Attention& attention = stack.layers[static_cast<size_t>(idx)].attention;
  if (attention.bias_BA.defined()) {
    biases.clear();
    for (const nn::Packed::Span& span : packed.spans)
      biases.push_back(
          relative_bias(attention.bias_BA, span.cache ? span.cache->length() : 0, span.count, is_decoder));
  }
  Tensor q_TAE = split(attention.q(x_TD)), k_TAE = split(attention.k(x_TD)), v_TAE = split(attention.v(x_TD));
  ops::AttentionArgs args;
  args.is_causal = is_decoder;
  args.may_round = attention.out.is_rounded();
  std::vector<Tensor> outputs;
  int64_t begin = 0;
  for (size_t at = 0; at < packed.spans.size(); ++at) {
    const nn::Packed::Span& span = packed.spans[at];
    Tensor k = k_TAE.narrow(0, begin, span.count), v = v_TAE.narrow(0, begin, span.count);
    args.bias = biases[at];
    Tensor q_1TAE = q_TAE.narrow(0, begin, span.count).unsqueeze(0);
    Tensor mixed = span.cache ? ops::attention(q_1TAE, span.cache->append(idx, k, v), args)
                              : ops::attention(q_1TAE, k.unsqueeze(0), v.unsqueeze(0), args);
    outputs.push_back(mixed.reshape({span.count, -1}));
    begin += span.count;
  }
  return attention.out(outputs.size() == 1 ? outputs[0] : at::cat(outputs));
}

Tensor T5::encode(Tensor x_SD, const nn::Packed& packed) const {
  VLM_SHAPE(x_SD, packed.total(), config_.d_model);
  std::vector<Tensor> biases;
  for (size_t at = 0; at < encoder_.layers.size(); ++at) {
    const Layer& layer = encoder_.layers[at];
    int64_t idx = static_cast<int64_t>(at);
    x_SD = x_SD + attend(encoder_, idx, layer.norm1(x_SD), packed, false, biases);
    x_SD = trace::point("hidden/encoder", idx, x_SD + layer.mlp(layer.norm2(x_SD)));
  }
  return encoder_.final_norm(x_SD);
}

CrossMemory T5::remember(const Tensor& states_SD) const {
  std::vector<Tensor> keys, values;
  for (const Layer& layer : decoder_.layers) {
    keys.push_back(split(layer.cross.k(states_SD)));
    values.push_back(split(layer.cross.v(states_SD)));
  }
  return {at::stack(keys), at::stack(values)};
}

Tensor T5::decode(Tensor x_TD, const nn::Packed& packed, const std::vector<CrossMemory>& memories) const {
  VLM_SHAPE(x_TD, packed.total(), config_.d_model);
  std::vector<Tensor> biases;
  for (size_t at = 0; at < decoder_.layers.size(); ++at) {
    const Layer& layer = decoder_.layers[at];
    int64_t idx = static_cast<int64_t>(at);
    x_TD = x_TD + attend(decoder_, idx, layer.norm1(x_TD), packed, true, biases);
    Tensor q_TAE = split(layer.cross.q(layer.cross_norm(x_TD)));
    x_TD = x_TD + layer.cross.out(attend_memory(q_TAE, packed, memories, idx, /*scale=*/1));
    x_TD = trace::point("hidden/text", idx, x_TD + layer.mlp(layer.norm2(x_TD)));
  }
  packed.advance();
  return decoder_.final_norm(x_TD);
}

Tensor T5::logits(const Tensor& x_TD) const {
  return head_(config_.is_tied ? x_TD * (1.0 / std::sqrt(static_cast<double>(config_.d_model))) : x_TD);
}

}  // namespace vlm
