// Text towers of dual encoders: CLIP's (causal, pooled at the end-of-text token) and SigLIP's (bidirectional,
// last position).
#pragma once

#include "base/json.h"
#include "nn/embedding.h"
#include "parts/encoders/transformer.h"

namespace vlm {

struct TextTowerNames {
  const char* tokens;
  const char* positions;  // the table's whole name
  const char* final_norm;
  EncoderNames encoder;
};

struct TextTowerConfig {
  EncoderConfig encoder;
  TextTowerNames names;
  int64_t vocab_size = 49408;
  int64_t max_position_embeddings = 77;
  int64_t eos_token_id = 2;

  static TextTowerConfig clip(const Json& config);
  static TextTowerConfig siglip(const Json& config);
  // open_clip's text_cfg; the activation stands beside it.
  static TextTowerConfig open_clip(const Json& text_cfg, Act act);
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
  nn::Embedding tokens_;
  Tensor positions_;  // [T, D]
  TransformerEncoder encoder_;
  nn::Norm final_norm_;
};

}  // namespace vlm
