// T5, Flan-T5, mT5 and UMT5: an encoder and a decoder with bucketed relative positions.
//
//   ids_S --embed--> x_SD --[norm, self-attention, norm, feed-forward] x L--> final norm --> states_SD
//   ids_T --embed--> x_TD --[.., cross-attention to the states, ..] x L--> final norm --> head --> logits_TK
//
// S tokens of the encoder, T of the decoder, D width (d_model), A heads of width E (d_kv), K vocabulary.
#pragma once

#include <vector>

#include "base/json.h"
#include "nn/embedding.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "parts/decoders/cross_memory.h"

namespace vlm {

struct T5Config {
  int64_t vocab_size = 32128;
  int64_t d_model = 512;
  int64_t d_kv = 64;
  int64_t d_ff = 2048;
  int64_t num_layers = 6;
  int64_t num_decoder_layers = 6;
  int64_t num_heads = 8;
  int64_t num_buckets = 32;
  int64_t max_distance = 128;
  int64_t n_positions = 512;  // trained on; nothing limits it
  int64_t start_id = 0;       // the decoder begins with it
  double norm_eps = 1e-6;
  Act act = Act::relu;
  bool is_gated = false;
  bool is_tied = true;                   // the head is the embedding, and its input is scaled (T5 v1.0)
  bool has_bias_in_every_layer = false;  // UMT5; otherwise the first layer's serves all

  // t5, mt5, umt5.
  static T5Config from(const Json& json);
};

class T5 {
 public:
  T5() = default;
  T5(const T5Config& config, const Weights& w);

  Tensor embed(const Tensor& ids_T) const { return embed_(ids_T); }
  // Several sequences one behind the other, without caches; after the final norm.
  Tensor encode(Tensor x_SD, const nn::Packed& packed) const;
  CrossMemory remember(const Tensor& states_SD) const;  // of one sequence
  // Keys and values go into the caches of `packed`, which are advanced; after the final norm.
  Tensor decode(Tensor x_TD, const nn::Packed& packed, const std::vector<CrossMemory>& memories) const;
  Tensor logits(const Tensor& x_TD) const;  // [T, K]
  const T5Config& config() const { return config_; }

 private:
  struct Attention {
    nn::Linear q, k, v, out;
    Tensor bias_BA;  // by bucket and head; undefined: the first layer's
  };
  struct Layer {
    nn::Norm norm1, cross_norm, norm2;
    Attention attention, cross;
    nn::Mlp mlp;
  };
  struct Stack {
    std::vector<Layer> layers;
    nn::Norm final_norm;
  };
  Attention make_attention(const Weights& w, bool has_bias) const;
  Stack make_stack(const Weights& w, int64_t num_layers, bool is_decoder) const;
  Tensor relative_bias(const Tensor& bias_BA, int64_t past, int64_t count, bool is_decoder) const;
  Tensor attend(const Stack& stack, int64_t idx, const Tensor& x_TD, const nn::Packed& packed,
                bool is_decoder, std::vector<Tensor>& biases) const;
  Tensor split(const Tensor& x) const { return x.reshape({x.size(0), config_.num_heads, config_.d_kv}); }

  T5Config config_;
  nn::Embedding embed_;
  Stack encoder_, decoder_;
  nn::Linear head_;
};

}  // namespace vlm
