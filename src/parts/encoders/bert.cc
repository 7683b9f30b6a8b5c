#include "parts/encoders/bert.h"

#include <algorithm>
#include <cmath>

#include "nn/attention.h"

namespace vlm {

namespace {

BertConfig read(const Json& json, int64_t vocab, int64_t heads) {
  BertConfig config;
  config.vocab_size = json.integer("vocab_size", 1, 1 << 24, vocab);
  config.hidden_size = json.integer("hidden_size", 1, 1 << 16, 768);
  config.intermediate_size = json.integer("intermediate_size", 1, 1 << 20, 3072);
  config.num_hidden_layers = json.integer("num_hidden_layers", 1, 1024, 12);
  config.num_attention_heads = json.integer("num_attention_heads", 1, 1024, heads);
  config.max_position_embeddings = json.integer("max_position_embeddings", 1, 1 << 20, 512);
  config.layer_norm_eps = json.get("layer_norm_eps", 1e-12);
  config.hidden_act = act_from(json.get("hidden_act", "gelu"), json.path() + ": hidden_act");
  json.require("position_embedding_type", "absolute");
  if (config.hidden_size % config.num_attention_heads != 0)
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "{}: hidden_size {} does not divide into {} heads", json.path(), config.hidden_size,
         config.num_attention_heads);
  return config;
}

}  // namespace

BertConfig BertConfig::bert(const Json& json) {
  BertConfig config = read(json, 30522, 12);
  config.type_vocab_size = json.integer("type_vocab_size", 1, 1 << 16, 2);
  return config;
}

BertConfig BertConfig::blip(const Json& json, int64_t cross_width) {
  BertConfig config = read(json, 30524, 8);
  config.cross_width = cross_width;
  return config;
}

BertAttention::BertAttention(const Weights& w, const char* inner, int64_t width, int64_t source_width,
                             int64_t heads, double eps)
    : q(w / inner / "query", width, width, nn::Bias::yes),
      k(w / inner / "key", source_width, width, nn::Bias::yes),
      v(w / inner / "value", source_width, width, nn::Bias::yes),
      out(w / "output.dense", width, width, nn::Bias::yes),
      norm(w / "output.LayerNorm", width, nn::NormKind::layer, eps),
      num_heads(heads) {}

Tensor BertAttention::split(const Tensor& x) const {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = num_heads;
  shape.push_back(x.size(-1) / num_heads);
  return x.reshape(shape);
}

double BertAttention::scale() const {
  return 1.0 / std::sqrt(static_cast<double>(q.matrix().out / num_heads));
}

BertFeedForward::BertFeedForward(const Weights& w, const char* up_name, const char* down_name, int64_t width,
                                 int64_t inner, Act activation, double eps)
    : up(w / up_name / "dense", width, inner, nn::Bias::yes),
      down(w / down_name / "dense", inner, width, nn::Bias::yes),
      norm(w / down_name / "LayerNorm", width, nn::NormKind::layer, eps),
      act(activation) {}

Bert::Bert(const BertConfig& config, const Weights& w) : config_(config) {
  int64_t width = config.hidden_size, heads = config.num_attention_heads;
  double eps = config.layer_norm_eps;
  Weights embeddings = w / "embeddings";
  words_ = nn::Embedding(embeddings / "word_embeddings", config.vocab_size, width);
  positions_ = nn::Embedding(embeddings / "position_embeddings", config.max_position_embeddings, width);
  if (config.type_vocab_size > 0)
    types_ = nn::Embedding(embeddings / "token_type_embeddings", config.type_vocab_size, width);
  norm_ = nn::Norm(embeddings / "LayerNorm", width, nn::NormKind::layer, eps);
  embeddings.ignore("position_ids");
  for (int64_t idx = 0; idx < config.num_hidden_layers; ++idx) {
    Weights at_layer = w / "encoder.layer" / idx;
    Layer layer;
    layer.attention = BertAttention(at_layer / "attention", "self", width, width, heads, eps);
    if (config.cross_width > 0)
      layer.cross = BertAttention(at_layer / "crossattention", "self", width, config.cross_width, heads, eps);
    layer.feed_forward = BertFeedForward(at_layer, "intermediate", "output", width, config.intermediate_size,
                                         config.hidden_act, eps);
    layers_.push_back(std::move(layer));
  }
}

Tensor Bert::embed(const Tensor& ids_T, const Tensor& positions_T, const Tensor& types_T) const {
  int64_t last = positions_T.numel() > 0 ? positions_T.max().item<int64_t>() : 0;
  if (last >= config_.max_position_embeddings)
    fail(ErrorKind::bad_request, "shorten the text", "the text has more than the {} tokens this model takes",
         config_.max_position_embeddings);
  Tensor x_TD = words_(ids_T) + positions_(positions_T);
  if (config_.type_vocab_size > 0) x_TD = x_TD + types_(types_T.defined() ? types_T : at::zeros_like(ids_T));
  return norm_(x_TD);
}

CrossMemory Bert::remember(const Tensor& states_SV) const {
  VLM_SHAPE(states_SV, kAny, config_.cross_width);
  std::vector<Tensor> keys, values;
  for (const Layer& layer : layers_) {
    keys.push_back(layer.cross.split(layer.cross.k(states_SV)));
    values.push_back(layer.cross.split(layer.cross.v(states_SV)));
  }
  return {at::stack(keys), at::stack(values)};
}

Tensor Bert::forward(Tensor x_TD, const nn::Packed& packed, bool is_causal,
                     const std::vector<CrossMemory>& memories) const {
  VLM_SHAPE(x_TD, packed.total(), config_.hidden_size);
  for (size_t at = 0; at < layers_.size(); ++at) {
    const Layer& layer = layers_[at];
    int64_t idx = static_cast<int64_t>(at);
    const BertAttention& own = layer.attention;
    ops::AttentionArgs args;
    args.scale = own.scale();
    args.is_causal = is_causal;
    args.may_round = own.out.is_rounded();
    Tensor mixed =
        nn::attend(own.split(own.q(x_TD)), own.split(own.k(x_TD)), own.split(own.v(x_TD)), packed, idx, args);
    x_TD = own.finish(mixed, x_TD);
    if (!memories.empty()) {
      const BertAttention& cross = layer.cross;
      mixed = attend_memory(cross.split(cross.q(x_TD)), packed, memories, idx, cross.scale());
      x_TD = cross.finish(mixed, x_TD);
    }
    x_TD = trace::point("hidden/text", idx, layer.feed_forward(x_TD));
  }
  packed.advance();
  return x_TD;
}

BertHead::BertHead(const BertConfig& config, const nn::Embedding& words, const Weights& w)
    : dense_(w / "transform.dense", config.hidden_size, config.hidden_size, nn::Bias::yes),
      norm_(w / "transform.LayerNorm", config.hidden_size, nn::NormKind::layer, config.layer_norm_eps),
      act_(config.hidden_act),
      words_KD_(words.table()),
      bias_(w.take("bias", {config.vocab_size})) {
  if (w.has("decoder.weight"))
    decoder_ = nn::Linear(w / "decoder", config.hidden_size, config.vocab_size, nn::Bias::none);
  w.ignore("decoder.bias");  // a copy of "bias"
}

Tensor BertHead::operator()(const Tensor& x_TD) const {
  Tensor y_TD = norm_(dense_(x_TD, act_));
  return decoder_.defined() ? decoder_(y_TD) + bias_ : ops::linear(y_TD, ops::dense_matrix(words_KD_), bias_);
}

PackedTexts::PackedTexts(const Tensor& ids_BT, int64_t pad_id)
    : num_texts(ids_BT.size(0)), length(ids_BT.size(1)) {
  std::vector<int64_t> flat = to_ids(ids_BT), ids, places;
  for (int64_t row = 0; row < num_texts; ++row) {
    const int64_t begin = row * length;
    int64_t count = length;
    while (count > 1 && flat[static_cast<size_t>(begin + count - 1)] == pad_id) --count;
    packed.spans.push_back({count});
    for (int64_t at = begin; at < begin + count; ++at) {
      ids.push_back(flat[static_cast<size_t>(at)]);
      places.push_back(at);
    }
  }
  ids_T = ids_tensor(ids);
  places_T = ids_tensor(places);
}

Tensor PackedTexts::rows(const Tensor& x_TD) const {
  Tensor flat = at::zeros({num_texts * length, x_TD.size(1)});
  return flat.index_copy(0, places_T, x_TD).view({num_texts, length, x_TD.size(1)});
}

Tensor PackedTexts::first(const Tensor& x_TD) const {
  std::vector<int64_t> begins;
  int64_t begin = 0;
  for (const nn::Packed::Span& span : packed.spans) {
    begins.push_back(begin);
    begin += span.count;
  }
  return x_TD.index_select(0, ids_tensor(begins));
}

}  // namespace vlm
