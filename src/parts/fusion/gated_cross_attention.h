// A block between the layers of a language model that reads pictures, let in by a gate (Flamingo, IDEFICS).
//
//   x_TD + tanh(alpha) * attention(norm x over a picture's features), then + tanh(alpha') * MLP(norm x)
//
// T tokens, D width, N pictures, S features of each, V their width, A heads, E head width.
#pragma once

#include <vector>

#include "nn/linear.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace vlm {

struct GatedCrossAttentionConfig {
  int64_t width = 0;
  int64_t feature_width = 0;
  int64_t inner = 0;  // of the MLP
  int64_t num_heads = 0;
  double eps = 1e-6;
  Act act = Act::silu;
  bool has_qk_norm = false;      // an RMS norm for all heads of q, one for k
  bool has_vector_gate = false;  // one gate for every feature
};

class GatedCrossAttention {
 public:
  GatedCrossAttention() = default;
  GatedCrossAttention(const GatedCrossAttentionConfig& config, const Weights& w);

  // Keys and values of pictures.
  struct Memory {
    Tensor k_NSAE, v_NSAE;
  };
  Memory remember(const Tensor& features_NSV) const;

  // Neighbouring tokens that see the same picture.
  struct Span {
    int64_t count = 0;
    const Memory* memory = nullptr;
    int64_t image = -1;  // of the memory; -1: none, their attention is zero
  };
  Tensor operator()(const Tensor& x_TD, const std::vector<Span>& spans) const;

 private:
  GatedCrossAttentionConfig config_;
  nn::Norm norm1_, norm2_, q_norm_, k_norm_;
  nn::Linear q_, k_, v_, out_;
  nn::Mlp mlp_;
  Tensor attention_gate_, mlp_gate_;
};

}  // namespace vlm
