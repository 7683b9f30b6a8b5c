// The language models that CausalDecoder can be, as data: names of their published tensors, and how their
// config.json reads. References: transformers' configuration_*.py for the defaults, modeling_*.py for the
// structure.
#include "parts/decoders/causal.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace vlm {

namespace {

constexpr DecoderNames kLlama{.stem = "model",
                              .embed = "embed_tokens",
                              .layers = "layers",
                              .final_norm = "norm",
                              .head = "lm_head",
                              .norm1 = "input_layernorm",
                              .norm2 = "post_attention_layernorm",
                              .q = "self_attn.q_proj",
                              .k = "self_attn.k_proj",
                              .v = "self_attn.v_proj",
                              .qkv = nullptr,
                              .out = "self_attn.o_proj",
                              .mlp = {"mlp.up_proj", "mlp.down_proj", "mlp.gate_proj"}};
constexpr DecoderNames kPhi{.stem = "model",
                            .embed = "embed_tokens",
                            .layers = "layers",
                            .final_norm = "final_layernorm",
                            .head = "lm_head",
                            .norm1 = "input_layernorm",
                            .norm2 = nullptr,
                            .q = "self_attn.q_proj",
                            .k = "self_attn.k_proj",
                            .v = "self_attn.v_proj",
                            .qkv = nullptr,
                            .out = "self_attn.dense",
                            .mlp = {"mlp.fc1", "mlp.fc2"}};
constexpr DecoderNames kOpt{.stem = "model.decoder",
                            .embed = "embed_tokens",
                            .layers = "layers",
                            .final_norm = "final_layer_norm",
                            .head = "lm_head",
                            .norm1 = "self_attn_layer_norm",
                            .norm2 = "final_layer_norm",
                            .q = "self_attn.q_proj",
                            .k = "self_attn.k_proj",
                            .v = "self_attn.v_proj",
                            .qkv = nullptr,
                            .out = "self_attn.out_proj",
                            .mlp = {"fc1", "fc2"}};
constexpr DecoderNames kMpt{.stem = "transformer",
                            .embed = "wte",
                            .layers = "blocks",
                            .final_norm = "norm_f",
                            .head = "lm_head",
                            .norm1 = "norm_1",
                            .norm2 = "norm_2",
                            .q = nullptr,
                            .k = nullptr,
                            .v = nullptr,
                            .qkv = "attn.Wqkv",
                            .out = "attn.out_proj",
                            .mlp = {"ffn.up_proj", "ffn.down_proj"}};
constexpr DecoderNames kGptNeox{.stem = "gpt_neox",
                                .embed = "embed_in",
                                .layers = "layers",
                                .final_norm = "final_layer_norm",
                                .head = "embed_out",
                                .norm1 = "input_layernorm",
                                .norm2 = "post_attention_layernorm",
                                .q = nullptr,
                                .k = nullptr,
                                .v = nullptr,
                                .qkv = "attention.query_key_value",
                                .out = "attention.dense",
                                .mlp = {"mlp.dense_h_to_4h", "mlp.dense_4h_to_h"}};
constexpr DecoderNames kPersimmon{.stem = "model",
                                  .embed = "embed_tokens",
                                  .layers = "layers",
                                  .final_norm = "final_layernorm",
                                  .head = "lm_head",
                                  .norm1 = "input_layernorm",
                                  .norm2 = "post_attention_layernorm",
                                  .q = nullptr,
                                  .k = nullptr,
                                  .v = nullptr,
                                  .qkv = "self_attn.query_key_value",
                                  .out = "self_attn.dense",
                                  .mlp = {"mlp.dense_h_to_4h", "mlp.dense_4h_to_h"}};

constexpr DecoderNames kKosmos{.stem = "model",
                               .embed = "embed_tokens",
                               .layers = "layers",
                               .final_norm = "layer_norm",
                               .head = "lm_head",
                               .norm1 = "self_attn_layer_norm",
                               .norm2 = "final_layer_norm",
                               .q = "self_attn.q_proj",
                               .k = "self_attn.k_proj",
                               .v = "self_attn.v_proj",
                               .qkv = nullptr,
                               .out = "self_attn.out_proj",
                               .mlp = {"ffn.fc1", "ffn.fc2", nullptr, "ffn.ffn_layernorm"},
                               .inner_norm = "self_attn.inner_attn_ln"};

constexpr int64_t kMaxWidth = 1 << 17, kMaxInner = 1 << 20, kMaxLayers = 1024, kMaxHeads = 1024,
                  kMaxVocab = 1 << 24, kMaxPositions = 1 << 26;

struct Sizes {  // defaults of the reference's config class
  int64_t vocab, width, inner, layers, heads, positions;
};

void read_sizes(DecoderConfig& config, const Json& json, const Sizes& fallback) {
  config.vocab_size = json.integer("vocab_size", 1, kMaxVocab, fallback.vocab);
  config.hidden_size = json.integer("hidden_size", 1, kMaxWidth, fallback.width);
  config.intermediate_size = json.integer("intermediate_size", 1, kMaxInner, fallback.inner);
  config.num_hidden_layers = json.integer("num_hidden_layers", 1, kMaxLayers, fallback.layers);
  config.num_attention_heads = json.integer("num_attention_heads", 1, kMaxHeads, fallback.heads);
  config.num_key_value_heads = json.integer("num_key_value_heads", 1, kMaxHeads, config.num_attention_heads);
  config.head_dim = json.integer("head_dim", 1, kMaxWidth, config.hidden_size / config.num_attention_heads);
  config.max_position_embeddings =
      json.integer("max_position_embeddings", 1, kMaxPositions, fallback.positions);
}

void read_rope(DecoderConfig& config, const Json& json, double theta = 10000) {
  Json parameters = json.find("rope_parameters");  // the name of newer files; holds theta as well
  config.rope.theta = json.get("rope_theta", parameters.get("rope_theta", theta));
  Json scaling = json.find("rope_scaling");
  if (scaling.is_null()) scaling = parameters;
  if (scaling.is_null()) return;
  std::string type = scaling.get("rope_type", scaling.get("type", "default"));
  if (scaling.has("mrope_section")) {  // called "mrope", and "default" by newer versions
    config.rope.sections = scaling.at("mrope_section").as<std::vector<int64_t>>();
    type = "default";
  }
  if (type == "default") return;
  if (type == "dynamic") {
    config.rope.dynamic_factor = scaling.get("factor", 1.0);
    return;
  }
  config.rope.factor = scaling.get("factor", 1.0);
  if (type == "linear") return;
  if (type != "llama3")
    fail(ErrorKind::unsupported, "known: default, linear, dynamic, llama3",
         "{}: rope scaling \"{}\" is not implemented", scaling.path(), type);
  config.rope.is_llama3 = true;
  config.rope.low_freq_factor = scaling.get("low_freq_factor", 1.0);
  config.rope.high_freq_factor = scaling.get("high_freq_factor", 4.0);
  config.rope.original_max_positions = scaling.get("original_max_position_embeddings", 8192.0);
}

void set_rotary_share(DecoderConfig& config, double share) {
  config.rotary_dim = static_cast<int64_t>(share * static_cast<double>(config.head_dim));
}

DecoderConfig llama(const Json& json) {
  DecoderConfig config;
  config.names = kLlama;
  read_sizes(config, json, {32000, 4096, 11008, 32, 32, 2048});
  read_rope(config, json);
  config.norm_eps = json.get("rms_norm_eps", 1e-6);
  config.act = act_from(json.get("hidden_act", "silu"), json.path() + ": hidden_act");
  config.has_qkv_bias = config.has_out_bias = json.get("attention_bias", false);
  config.has_mlp_bias = json.get("mlp_bias", false);
  config.is_tied = json.get("tie_word_embeddings", false);
  return config;
}

DecoderConfig mistral(const Json& json) {
  DecoderConfig config = llama(json);
  read_sizes(config, json, {32000, 4096, 14336, 32, 32, 131072});
  config.num_key_value_heads = json.integer("num_key_value_heads", 1, kMaxHeads, 8);
  // An absent key means the reference's 4096, an explicit null means none.
  bool is_null = false;
  for (const std::string& key : json.keys()) is_null |= key == "sliding_window" && !json.has(key);
  config.sliding_window = is_null ? 0 : json.integer("sliding_window", 1, kMaxPositions, 4096);
  return config;
}

DecoderConfig mixtral(const Json& json) {
  DecoderConfig config = llama(json);
  read_sizes(config, json, {32000, 4096, 14336, 32, 32, 131072});
  config.num_key_value_heads = json.integer("num_key_value_heads", 1, kMaxHeads, 8);
  read_rope(config, json, 1e6);
  config.norm_eps = json.get("rms_norm_eps", 1e-5);
  config.sliding_window = json.integer("sliding_window", 1, kMaxPositions, 0);
  config.num_experts = json.integer("num_local_experts", 1, 1024, 8);
  config.num_active_experts = json.integer("num_experts_per_tok", 1, config.num_experts, 2);
  return config;
}

DecoderConfig qwen2(const Json& json) {
  DecoderConfig config = llama(json);
  read_sizes(config, json, {151936, 4096, 22016, 32, 32, 32768});
  config.num_key_value_heads = json.integer("num_key_value_heads", 1, kMaxHeads, 32);
  config.has_qkv_bias = true;
  config.has_out_bias = false;
  json.require("use_sliding_window", false);
  json.ignore({"sliding_window", "max_window_layers"});
  return config;
}

DecoderConfig qwen2_vl(const Json& json) {
  DecoderConfig config = qwen2(json);
  read_sizes(config, json, {152064, 8192, 29568, 80, 64, 32768});
  config.num_key_value_heads = json.integer("num_key_value_heads", 1, kMaxHeads, 8);
  read_rope(config, json, 1e6);
  return config;
}

DecoderConfig gemma(const Json& json) {
  DecoderConfig config = llama(json);
  read_sizes(config, json, {256000, 3072, 24576, 28, 16, 8192});
  config.num_key_value_heads = json.integer("num_key_value_heads", 1, kMaxHeads, 16);
  config.head_dim = json.integer("head_dim", 1, kMaxWidth, 256);
  config.norm = nn::NormKind::rms_one_plus;
  // "gelu" in the first files was a mistake: the weights were trained with the tanh form, as
  // hidden_activation says when set.
  config.act =
      act_from(json.get("hidden_activation", "gelu_pytorch_tanh"), json.path() + ": hidden_activation");
  config.embed_scale = std::sqrt(static_cast<double>(config.hidden_size));
  config.is_tied = json.get("tie_word_embeddings", true);
  return config;
}

DecoderConfig phi(const Json& json) {
  DecoderConfig config;
  config.names = kPhi;
  read_sizes(config, json, {51200, 2048, 8192, 24, 32, 2048});
  read_rope(config, json);
  config.norm = nn::NormKind::layer;
  config.norm_eps = json.get("layer_norm_eps", 1e-5);
  config.act = act_from(json.get("hidden_act", "gelu_new"), json.path() + ": hidden_act");
  set_rotary_share(config, json.get("partial_rotary_factor", 0.5));
  config.residual = Residual::parallel_one_norm;
  config.has_qkv_bias = config.has_out_bias = config.has_mlp_bias = config.has_head_bias = true;
  config.is_tied = json.get("tie_word_embeddings", false);
  json.require("qk_layernorm", false);
  return config;
}

DecoderConfig stablelm(const Json& json) {
  DecoderConfig config;
  config.names = kLlama;
  read_sizes(config, json, {50304, 2560, 6912, 32, 32, 4096});
  read_rope(config, json);
  config.norm = nn::NormKind::layer;
  config.norm_eps = json.get("layer_norm_eps", 1e-5);
  config.act = act_from(json.get("hidden_act", "silu"), json.path() + ": hidden_act");
  set_rotary_share(config, json.get("partial_rotary_factor", 0.25));
  config.has_qkv_bias = json.get("use_qkv_bias", false);
  if (json.get("qk_layernorm", false)) config.qk_norm = QkNorm::each_head;
  if (json.get("use_parallel_residual", false)) config.residual = Residual::parallel_one_norm;
  config.is_tied = json.get("tie_word_embeddings", false);
  return config;
}

DecoderConfig gpt_neox(const Json& json) {
  DecoderConfig config;
  config.names = kGptNeox;
  read_sizes(config, json, {50432, 6144, 24576, 44, 64, 2048});
  config.rope.theta = json.get("rotary_emb_base", 10000.0);
  config.norm = nn::NormKind::layer;
  config.norm_eps = json.get("layer_norm_eps", 1e-5);
  config.act = act_from(json.get("hidden_act", "gelu"), json.path() + ": hidden_act");
  config.qkv_layout = QkvLayout::per_head;
  set_rotary_share(config, json.get("rotary_pct", 0.25));
  if (json.get("use_parallel_residual", true)) config.residual = Residual::parallel;
  config.has_qkv_bias = config.has_out_bias = json.get("attention_bias", true);
  config.has_mlp_bias = true;
  config.is_tied = json.get("tie_word_embeddings", false);
  return config;
}

DecoderConfig mpt(const Json& json) {
  DecoderConfig config;
  config.names = kMpt;
  config.vocab_size = json.integer("vocab_size", 1, kMaxVocab, 50368);
  config.hidden_size = json.integer("d_model", 1, kMaxWidth, 2048);
  config.num_hidden_layers = json.integer("n_layers", 1, kMaxLayers, 24);
  config.num_attention_heads = config.num_key_value_heads = json.integer("n_heads", 1, kMaxHeads, 16);
  config.intermediate_size = config.hidden_size * json.integer("expansion_ratio", 1, 64, 4);
  config.max_position_embeddings = json.integer("max_seq_len", 1, kMaxPositions, 2048);
  config.head_dim = config.hidden_size / config.num_attention_heads;
  config.norm = nn::NormKind::layer_no_bias;
  config.norm_eps = json.get("layer_norm_epsilon", 1e-5);
  config.act = Act::gelu_erf;
  config.qkv_layout = QkvLayout::thirds;
  config.position = PositionKind::alibi;
  config.is_tied = json.get("tie_word_embeddings", true);
  json.require("no_bias", true);
  json.ignore({"learned_pos_emb", "norm_type", "embedding_fraction", "emb_pdrop", "resid_pdrop",
               "init_device", "init_config", "verbose"});
  Json attention = json.find("attn_config");
  attention.require("alibi", true);
  attention.require("qk_ln", false);
  attention.require("prefix_lm", false);
  attention.require("attn_type", "multihead_attention");
  attention.ignore({"attn_impl", "attn_pdrop", "attn_uses_sequence_id"});
  config.alibi_bias_max = attention.get("alibi_bias_max", 8.0);
  config.clip_qkv = attention.get("clip_qkv", 0.0);
  config.softmax_scale = attention.get("softmax_scale", 0.0);
  return config;
}

DecoderConfig opt(const Json& json) {
  DecoderConfig config;
  config.names = kOpt;
  read_sizes(config, json, {50272, 768, 3072, 12, 12, 2048});
  config.intermediate_size = json.integer("ffn_dim", 1, kMaxInner, 3072);
  config.norm = nn::NormKind::layer;
  config.norm_eps = 1e-5;
  config.act = act_from(json.get("activation_function", "relu"), json.path() + ": activation_function");
  config.position = PositionKind::learnt;
  config.position_offset = 2;
  bool has_bias = json.get("enable_bias", true);
  config.has_qkv_bias = config.has_out_bias = config.has_mlp_bias = has_bias;
  json.require("layer_norm_elementwise_affine", true);
  int64_t embed_width = json.integer("word_embed_proj_dim", 1, kMaxWidth, config.hidden_size);
  if (embed_width != config.hidden_size) config.embed_width = embed_width;
  bool is_pre_norm = json.get("do_layer_norm_before", true);
  if (!is_pre_norm) config.residual = Residual::post_norm;
  config.has_final_norm = is_pre_norm && !json.get("_remove_final_layer_norm", false);
  config.is_tied = json.get("tie_word_embeddings", true);
  return config;
}

DecoderConfig persimmon(const Json& json) {
  DecoderConfig config;
  config.names = kPersimmon;
  read_sizes(config, json, {262144, 4096, 16384, 36, 64, 16384});
  read_rope(config, json, 25000);
  config.norm = nn::NormKind::layer;
  config.norm_eps = json.get("layer_norm_eps", 1e-5);
  config.act = act_from(json.get("hidden_act", "relu2"), json.path() + ": hidden_act");
  config.qkv_layout = QkvLayout::per_head;
  set_rotary_share(config, json.get("partial_rotary_factor", 0.5));
  if (json.get("qk_layernorm", true)) config.qk_norm = QkNorm::shared;
  config.has_qkv_bias = config.has_out_bias = config.has_mlp_bias = true;
  config.is_tied = json.get("tie_word_embeddings", false);
  return config;
}

// MAGNETO (arXiv:2210.06423): a norm more in front of each block's last matrix. Positions 0 and 1 belong to
// padding.
DecoderConfig kosmos(const Json& json) {
  DecoderConfig config;
  config.names = kKosmos;
  config.vocab_size = json.integer("vocab_size", 1, kMaxVocab, 65037);
  config.hidden_size = json.integer("embed_dim", 4, kMaxWidth, 2048);
  config.intermediate_size = json.integer("ffn_dim", 1, kMaxInner, 8192);
  config.num_hidden_layers = json.integer("layers", 1, kMaxLayers, 24);
  config.num_attention_heads = config.num_key_value_heads = json.integer("attention_heads", 1, kMaxHeads, 32);
  config.head_dim = config.hidden_size / config.num_attention_heads;
  config.max_position_embeddings = json.integer("max_position_embeddings", 1, kMaxPositions, 2048);
  config.norm = nn::NormKind::layer;
  config.norm_eps = json.get("layer_norm_eps", 1e-5);
  config.act = act_from(json.get("activation_function", "gelu"), json.path() + ": activation_function");
  config.position = PositionKind::sinusoidal;
  config.position_offset = 2;
  if (json.get("scale_embedding", true))
    config.input_scale = std::sqrt(static_cast<double>(config.hidden_size));
  config.has_qkv_bias = config.has_out_bias = config.has_mlp_bias = true;
  config.is_tied = json.get("tie_word_embeddings", true);
  json.require("add_cross_attention", false);
  json.ignore({"dropout", "attention_dropout", "activation_dropout", "layerdrop", "init_std"});
  return config;
}

struct Family {
  const char* model_type;
  DecoderConfig (*read)(const Json&);
};
constexpr Family kFamilies[] = {
    {"llama", llama},         {"mistral", mistral},           {"mixtral", mixtral}, {"qwen2", qwen2},
    {"qwen2_vl", qwen2_vl},   {"qwen2_vl_text", qwen2_vl},    {"gemma", gemma},     {"phi", phi},
    {"stablelm", stablelm},   {"gpt_neox", gpt_neox},         {"mpt", mpt},         {"opt", opt},
    {"persimmon", persimmon}, {"kosmos_2_text_model", kosmos}};

}  // namespace

DecoderConfig DecoderConfig::from(const Json& json, bool is_tied_above) {
  std::string type = json.get("model_type", "llama");
  std::string known;
  for (const Family& family : kFamilies) {
    known += (known.empty() ? "" : ", ") + std::string(family.model_type);
    if (type != family.model_type) continue;
    DecoderConfig config = family.read(json);
    config.is_tied = config.is_tied || is_tied_above;
    if (config.num_attention_heads % config.num_key_value_heads != 0 ||
        config.hidden_size < config.num_attention_heads)
      fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
           "{}: {} query heads on {} key heads at width {}", json.path(), config.num_attention_heads,
           config.num_key_value_heads, config.hidden_size);
    const std::vector<int64_t>& sections = config.rope.sections;
    int64_t frequencies = (config.rotary_dim ? config.rotary_dim : config.head_dim) / 2;
    bool covers_head = std::accumulate(sections.begin(), sections.end(), int64_t{0}) == frequencies &&
                       std::all_of(sections.begin(), sections.end(), [](int64_t count) { return count > 0; });
    if (!sections.empty() && (sections.size() != 3 || !covers_head))
      fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
           "{}: mrope_section must be 3 counts of {} frequencies in all", json.path(), frequencies);
    return config;
  }
  fail(ErrorKind::unsupported, "known: " + known,
       "{}: model_type \"{}\" is not implemented as a language model", json.path(), type);
}

}  // namespace vlm
