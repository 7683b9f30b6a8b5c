#include "parts/connectors/qformer.h"

namespace vlm {

QFormerConfig QFormerConfig::from(const Json& json, int64_t num_queries, int64_t states_width) {
  QFormerConfig config;
  config.bert = BertConfig::bert(json);
  config.bert.type_vocab_size = 0;
  config.bert.cross_width = states_width;  // config.json's encoder_hidden_size is overruled by the tower
  config.num_queries = num_queries;
  config.cross_attention_frequency = json.integer("cross_attention_frequency", 1, 1024, 2);
  json.ignore({"encoder_hidden_size", "type_vocab_size"});
  return config;
}

QFormer::QFormer(const QFormerConfig& config, const QFormerNames& names, const Weights& w) : config_(config) {
  const BertConfig& bert = config.bert;
  int64_t width = bert.hidden_size, heads = bert.num_attention_heads;
  double eps = bert.layer_norm_eps;
  bool reads_text = names.words != nullptr;
  queries_1QH_ = w.take(names.queries, {1, config.num_queries, width});
  norm_ = nn::Norm(w / names.norm, width, nn::NormKind::layer, eps);
  if (reads_text) {
    words_ = nn::Embedding(w / names.words, bert.vocab_size, width);
    positions_ = nn::Embedding(w / names.positions, bert.max_position_embeddings, width);
    w.ignore("*embeddings.position_ids");  // 0, 1, 2, ... as a buffer of older files
  }
  for (int64_t idx = 0; idx < bert.num_hidden_layers; ++idx) {
    Weights at_layer = w / names.layers / idx;
    Layer layer;
    layer.attention = BertAttention(at_layer / "attention", names.attention, width, width, heads, eps);
    if (idx % config.cross_attention_frequency == 0)
      layer.cross =
          BertAttention(at_layer / "crossattention", names.attention, width, bert.cross_width, heads, eps);
    layer.query_feed_forward = BertFeedForward(at_layer, "intermediate_query", "output_query", width,
                                               bert.intermediate_size, bert.hidden_act, eps);
    if (reads_text)
      layer.word_feed_forward = BertFeedForward(at_layer, "intermediate", "output", width,
                                                bert.intermediate_size, bert.hidden_act, eps);
    layers_.push_back(std::move(layer));
  }
}

Tensor QFormer::embed(const Tensor& ids_NW) const {
  int64_t count = ids_NW.size(1);
  if (count > config_.bert.max_position_embeddings)
    fail(ErrorKind::bad_request, "shorten the text", "the text has {} tokens, the Q-Former takes {}", count,
         config_.bert.max_position_embeddings);
  return words_(ids_NW) + positions_(at::arange(count, at::kLong));
}

Tensor QFormer::run(Tensor x_NTH, int64_t num_queries, const Tensor& states_NSV,
                    const ops::AttentionArgs& args) const {
  int64_t num_words = x_NTH.size(1) - num_queries;
  for (size_t at = 0; at < layers_.size(); ++at) {
    const Layer& layer = layers_[at];
    const BertAttention& own = layer.attention;
    ops::AttentionArgs own_args = args;
    own_args.scale = own.scale();
    own_args.may_round = own.out.is_rounded();
    Tensor mixed =
        ops::attention(own.split(own.q(x_NTH)), own.split(own.k(x_NTH)), own.split(own.v(x_NTH)), own_args);
    x_NTH = own.finish(mixed.reshape(x_NTH.sizes()), x_NTH);
    std::vector<Tensor> parts;
    if (num_queries > 0) {
      Tensor query_NQH = x_NTH.narrow(1, 0, num_queries);
      if (layer.cross) {
        const BertAttention& cross = *layer.cross;
        ops::AttentionArgs cross_args;
        cross_args.scale = cross.scale();
        cross_args.may_round = cross.out.is_rounded();
        mixed = ops::attention(cross.split(cross.q(query_NQH)), cross.split(cross.k(states_NSV)),
                               cross.split(cross.v(states_NSV)), cross_args);
        query_NQH = cross.finish(mixed.reshape(query_NQH.sizes()), query_NQH);
      }
      parts.push_back(layer.query_feed_forward(query_NQH));
    }
    if (num_words > 0) parts.push_back(layer.word_feed_forward(x_NTH.narrow(1, num_queries, num_words)));
    x_NTH = trace::point("hidden/qformer", static_cast<int64_t>(at),
                         parts.size() == 1 ? parts[0] : at::cat(parts, 1));
  }
  return x_NTH;
}

Tensor QFormer::operator()(const Tensor& states_NSV, const Tensor& ids_NW,
                           const Tensor& words_mask_NW) const {
  VLM_SHAPE(states_NSV, kAny, kAny, config_.bert.cross_width);
  int64_t num_queries = config_.num_queries;
  Tensor x_NTH = queries_1QH_.expand({states_NSV.size(0), -1, -1});
  ops::AttentionArgs args;
  if (ids_NW.defined()) {
    x_NTH = at::cat({x_NTH, embed(ids_NW)}, 1);
    if (words_mask_NW.defined())
      args.key_mask =
          at::cat({at::ones({ids_NW.size(0), num_queries}, at::kBool), words_mask_NW.to(at::kBool)}, 1);
  }
  return run(norm_(x_NTH), num_queries, states_NSV, args).narrow(1, 0, num_queries);
}

Tensor QFormer::read(const Tensor& ids_NW, const Tensor& words_mask_NW) const {
  ops::AttentionArgs args;
  if (words_mask_NW.defined()) args.key_mask = words_mask_NW.to(at::kBool);
  return run(norm_(embed(ids_NW)), 0, {}, args);
}

Tensor QFormer::write(const Tensor& states_NSV, const Tensor& ids_NW) const {
  Tensor x_NTH = at::cat({queries_1QH_.expand({states_NSV.size(0), -1, -1}), embed(ids_NW)}, 1);
  ops::AttentionArgs args;
  args.is_causal = true;
  args.prefix = config_.num_queries;
  return run(norm_(x_NTH), config_.num_queries, states_NSV, args)
      .narrow(1, config_.num_queries, ids_NW.size(1));
}

}  // namespace vlm
