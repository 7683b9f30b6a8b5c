// Text towers of dual encoders: CLIP's (causal, pooled at the end-of-text token) and SigLIP's (bidirectional,
// last position).
#pragma once

#include "base/json.h"
#include "nn/embedding.h"
#include "parts/encoders/transformer.h"

namespace vlm {

struct TextTowerConfig {
  EncoderConfig encoder;
  int64_t vocab_size = 49408;
  int64_t max_position_embeddings = 77;
  int64_t eos_token_id = 2;

  static TextTowerConfig clip(const Json& config);
  static TextTowerConfig siglip(const Json& config);
};

class TextTower {
 public:
  TextTower() = default;
  TextTower(const TextTowerConfig& config, const Weights& w);
  // ids int64 [B, T], padded on the right -> [B, T, D] after the final norm.
  Tensor operator()(const Tensor& ids_BT) const;
  // CLIP: the state at the end-of-text token: the largest id when eos_token_id is 2 (files from before it was
  // corrected), else the first eos_token_id. SigLIP: the last position, whatever stands there.
  Tensor pooled(const Tensor& ids_BT) const;

 private:
  TextTowerConfig config_;
  nn::Embedding tokens_, positions_;
  TransformerEncoder encoder_;
  nn::Norm final_norm_;
};

}  // namespace vlm
