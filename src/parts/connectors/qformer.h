// Q-Former: learnt queries that read a picture's states through cross-attention, alone or together with a
// text.
//
//   [queries, words] --norm--> [self-attention over both; queries alone: cross-attention in every c-th layer;
//   feed-forward of their own each] x L
//
// N pictures, Q queries, W words, S states of width V, H width.
#pragma once

#include <optional>

#include "parts/encoders/bert.h"

namespace vlm {

// Full names below one scope: published files put these tensors in different places.
struct QFormerNames {
  const char* queries = "query_tokens";
  const char* norm = "qformer.layernorm";
  const char* layers = "qformer.encoder.layer";
  const char* attention = "attention";  // below a layer's attention: what holds query, key and value
  const char* words = nullptr;          // null: the Q-Former reads no text
  const char* positions = nullptr;
};
inline constexpr QFormerNames kBlip2QFormer{};
inline constexpr QFormerNames kBlip2TextQFormer{.words = "embeddings.word_embeddings",
                                                .positions = "embeddings.position_embeddings"};
inline constexpr QFormerNames kInstructQFormer{.norm = "qformer.embeddings.layernorm",
                                               .words = "qformer.embeddings.word_embeddings",
                                               .positions = "qformer.embeddings.position_embeddings"};
// LAVIS, and systems that grew from it; below a scope that holds "Qformer.bert".
inline constexpr QFormerNames kLavisQFormer{
    .norm = "Qformer.bert.embeddings.LayerNorm", .layers = "Qformer.bert.encoder.layer", .attention = "self"};
inline constexpr QFormerNames kLavisTextQFormer{.norm = "Qformer.bert.embeddings.LayerNorm",
                                                .layers = "Qformer.bert.encoder.layer",
                                                .attention = "self",
                                                .words = "Qformer.bert.embeddings.word_embeddings",
                                                .positions = "Qformer.bert.embeddings.position_embeddings"};

struct QFormerConfig {
  BertConfig bert;  // cross_width: of the picture's states
  int64_t num_queries = 32;
  int64_t cross_attention_frequency = 2;

  // blip_2_qformer, instructblip_qformer.
  static QFormerConfig from(const Json& json, int64_t num_queries, int64_t states_width);
};

class QFormer {
 public:
  QFormer() = default;
  QFormer(const QFormerConfig& config, const QFormerNames& names, const Weights& w);

  // What the queries make of the states [N, S, V], reading the words ids [N, W] where given: [N, Q, H]. In
  // `words_mask_NW`, true where a word stands; undefined: everywhere.
  Tensor operator()(const Tensor& states_NSV, const Tensor& ids_NW = {},
                    const Tensor& words_mask_NW = {}) const;
  // Words alone, seeing each other: [N, W, H].
  Tensor read(const Tensor& ids_NW, const Tensor& words_mask_NW) const;
  // Words behind the queries, each seeing all queries and the words before it: [N, W, H].
  Tensor write(const Tensor& states_NSV, const Tensor& ids_NW) const;
  const QFormerConfig& config() const { return config_; }
  const nn::Embedding& words() const { return words_; }

 private:
  struct Layer {
    BertAttention attention;
    std::optional<BertAttention> cross;
    BertFeedForward query_feed_forward, word_feed_forward;
  };
  Tensor embed(const Tensor& ids_NW) const;
  Tensor run(Tensor x_NTH, int64_t num_queries, const Tensor& states_NSV,
             const ops::AttentionArgs& args) const;

  QFormerConfig config_;
  Tensor queries_1QH_;
  nn::Embedding words_, positions_;
  nn::Norm norm_;
  std::vector<Layer> layers_;
};

}  // namespace vlm
