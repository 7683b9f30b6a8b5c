// BERT, its form with cross-attention that BLIP reads and writes with, and the blocks that Q-Formers are made
// of.
//
//   ids_T --words + positions (+ types)--> norm --> [self-attention, cross-attention, feed-forward] x L
//
// Every sublayer is followed by its residual and norm. T tokens of packed sequences, D width, S states of an
// encoder.
#pragma once

#include "base/json.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "ops/activation.h"
#include "parts/decoders/cross_memory.h"

namespace vlm {

struct BertConfig {
  int64_t vocab_size = 30522;
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t max_position_embeddings = 512;
  int64_t type_vocab_size = 0;  // 0: tokens have no types
  int64_t cross_width = 0;      // of the states that cross-attention reads; 0: none
  double layer_norm_eps = 1e-12;
  Act hidden_act = Act::gelu_erf;

  static BertConfig bert(const Json& json);
  static BertConfig blip(const Json& json, int64_t cross_width);  // blip_text_model
};

// Projections of one attention, and the norm behind its residual.
struct BertAttention {
  nn::Linear q, k, v, out;
  nn::Norm norm;
  int64_t num_heads = 1;

  BertAttention() = default;
  // `inner`: what holds query, key and value: "self", or "attention".
  BertAttention(const Weights& w, const char* inner, int64_t width, int64_t source_width, int64_t num_heads,
                double eps);
  Tensor split(const Tensor& x) const;  // [..., D] -> [..., A, E]
  Tensor finish(const Tensor& mixed, const Tensor& x) const { return norm(out(mixed) + x); }
  double scale() const;
};

struct BertFeedForward {
  nn::Linear up, down;
  nn::Norm norm;
  Act act = Act::gelu_erf;

  BertFeedForward() = default;
  // `up_name` and `down_name`: "intermediate" and "output", or those of queries.
  BertFeedForward(const Weights& w, const char* up_name, const char* down_name, int64_t width, int64_t inner,
                  Act act, double eps);
  Tensor operator()(const Tensor& x) const { return norm(down(up(x, act)) + x); }
};

class Bert {
 public:
  Bert() = default;
  Bert(const BertConfig& config, const Weights& w);

  // After the norm. `types_T` may be undefined: all 0.
  Tensor embed(const Tensor& ids_T, const Tensor& positions_T, const Tensor& types_T = {}) const;
  // What the cross-attention of one sequence reads.
  CrossMemory remember(const Tensor& states_SV) const;
  // Runs the layers; `memories` of the packed sequences, or none: without cross-attention.
  Tensor forward(Tensor x_TD, const nn::Packed& packed, bool is_causal,
                 const std::vector<CrossMemory>& memories = {}) const;
  const BertConfig& config() const { return config_; }
  const nn::Embedding& words() const { return words_; }

 private:
  struct Layer {
    BertAttention attention, cross;
    BertFeedForward feed_forward;
  };
  BertConfig config_;
  nn::Embedding words_, positions_, types_;
  nn::Norm norm_;
  std::vector<Layer> layers_;
};

// Predicts words from states ("cls.predictions"): dense, activation, norm, and the word embedding again.
class BertHead {
 public:
  BertHead() = default;
  BertHead(const BertConfig& config, const nn::Embedding& words, const Weights& w);
  Tensor operator()(const Tensor& x_TD) const;  // [T, K]
  bool defined() const { return bias_.defined(); }

 private:
  nn::Linear dense_, decoder_;  // decoder: where the file stores the words a second time
  nn::Norm norm_;
  Act act_ = Act::gelu_erf;
  Tensor words_KD_, bias_;
};

// The texts of a padded batch as one packed run: ids int64 [B, T], whose `pad_id` ends each row.
struct PackedTexts {
  PackedTexts(const Tensor& ids_BT, int64_t pad_id);
  Tensor rows(const Tensor& x_TD) const;   // back to [B, T, D], zero where the padding is
  Tensor first(const Tensor& x_TD) const;  // [B, D]: the state of every text's first token

  Tensor ids_T, places_T;  // the tokens, and where each stood in the flattened batch
  nn::Packed packed;
  int64_t num_texts = 0, length = 0;
};

}  // namespace vlm
