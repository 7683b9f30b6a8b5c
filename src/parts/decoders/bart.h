// BART: an encoder and a decoder with learnt positions and norms behind every step.
//
//   x_SD + positions --norm--> --[self-attention, feed-forward] x L--> states_SD
//   ids_T --embed, positions, norm--> --[self-attention, attention to the states, feed-forward] x L-->
//   --head--> logits_TK
//
// S tokens of the encoder, T of the decoder, D width (d_model), K vocabulary.
#pragma once

#include <vector>

#include "base/json.h"
#include "nn/embedding.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "parts/decoders/cross_memory.h"

namespace vlm {

struct BartConfig {
  struct Stack {
    int64_t num_layers = 12;
    int64_t num_heads = 16;
    int64_t ffn_dim = 4096;
  };
  int64_t vocab_size = 50265;
  int64_t d_model = 1024;
  int64_t max_position_embeddings = 1024;
  Stack encoder, decoder;
  Act act = Act::gelu_erf;
  double embed_scale = 1;
  int64_t start_id = 2;  // the decoder begins with it

  static BartConfig from(const Json& json);
};

class Bart {
 public:
  Bart() = default;
  // `w`: above "model" and "lm_head".
  Bart(const BartConfig& config, const Weights& w);

  Tensor embed(const Tensor& ids_T) const;  // scaled, without positions
  // Several sequences one behind the other, without caches. Throws bad_request where one is longer than the
  // table of positions.
  Tensor encode(Tensor x_SD, const nn::Packed& packed) const;
  CrossMemory remember(const Tensor& states_SD) const;  // of one sequence
  // Keys and values go into the caches of `packed`, which are advanced.
  Tensor decode(const Tensor& ids_T, const nn::Packed& packed,
                const std::vector<CrossMemory>& memories) const;
  Tensor logits(const Tensor& x_TD) const;  // [T, K]
  const BartConfig& config() const { return config_; }

 private:
  struct Attention {
    nn::Linear q, k, v, out;
    nn::Norm norm;  // behind it
    int64_t num_heads = 1;
  };
  struct Layer {
    Attention attention, cross;
    nn::Mlp mlp;
    nn::Norm norm;
  };
  struct Stack {
    nn::Embedding positions;
    nn::Norm norm;  // of the embeddings
    std::vector<Layer> layers;
  };
  Stack make_stack(const Weights& w, const BartConfig::Stack& config, bool is_decoder) const;
  Attention make_attention(const Weights& w, const char* name, int64_t num_heads) const;
  Tensor enter(const Stack& stack, const Tensor& x_TD, const nn::Packed& packed) const;
  Tensor attend(const Attention& attention, const Tensor& x_TD, const nn::Packed& packed, int64_t layer,
                bool is_causal) const;

  BartConfig config_;
  nn::Embedding embed_;
  Stack encoder_, decoder_;
  nn::Linear head_;
};

}  // namespace vlm
