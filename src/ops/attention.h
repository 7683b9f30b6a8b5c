#pragma once

#include "tensor/tensor.h"

namespace vlm::ops {

// Which keys a query sees. Queries are the last rows of the keys' sequence: query t of T stands at position S
// - T + t.
struct AttentionArgs {
  double scale = 1.0;  // of q . k
  bool is_causal = false;
  int64_t window = 0;   // > 0: a query sees itself and the window - 1 keys before it (with is_causal)
  int64_t prefix = 0;   // with is_causal: the first `prefix` keys are seen by everybody (prefix-LM)
  double softcap = 0;   // > 0: scores become softcap * tanh(score / softcap)
  Tensor alibi_slopes;  // [A] or undefined: adds slope * (key position - query position)
  Tensor key_mask;      // bool [B, S] or undefined: true where a key may be seen
  Tensor bias;          // float [B or 1, A or 1, T, S] or undefined: added to the scores
};

// q [B, T, A, E], k and v [B, S, G, E or Ev] with A a multiple of G (grouped queries) -> [B, T, A, Ev],
// float32.
Tensor attention(const Tensor& q_BTAE, const Tensor& k_BSGE, const Tensor& v_BSGE, const AttentionArgs& args);

}  // namespace vlm::ops
