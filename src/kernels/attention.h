// Softmax attention in float32, block by block, without a matrix of all scores.
#pragma once

#include <cstdint>

namespace vlm::kernels {

struct Attention {
  // q [batch, queries, heads, width], k [batch, keys, groups, width], v [batch, keys, groups, value_width]:
  // strides in elements of the first three axes, the last has none. heads is a multiple of groups.
  const float* q;
  const float* k;
  const float* v;
  int64_t q_strides[3];
  int64_t k_strides[3];
  int64_t v_strides[3];
  float* y;  // [batch, queries, heads, value_width] without gaps
  int64_t batch, queries, keys, heads, groups, width, value_width;

  float scale;
  // Query t stands at position keys - queries + t. Causal: it sees the keys up to its own position, of these
  // only the last `window` when window > 0, and always the first `prefix` keys.
  bool is_causal;
  int64_t window;
  int64_t prefix;
  float softcap;              // > 0: scores become softcap * tanh(score / softcap)
  const float* alibi_slopes;  // [heads] or null: adds slope * (key - query position)
  const bool* key_mask;       // [batch, keys] or null: false hides a key
  const float* bias;          // null, or added: bias[batch, head, query] are bias_strides apart, keys 1
  int64_t bias_strides[3];
};

// A query that sees no key gets zeros.
void attention(const Attention& args);

}  // namespace vlm::kernels
