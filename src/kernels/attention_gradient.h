// The gradients of softmax attention, without a matrix of all scores: those of some queries are computed
// anew.
#pragma once

#include <cstdint>

namespace vlm::kernels {

// Of y = softmax(scale q . k^T) v, queries seeing keys as kernels/attention.h says. Strides are in elements,
// of the first three axes; the last has none.
struct AttentionGradient {
  const float *q, *k, *v;  // [batch, queries, heads, width], [batch, keys, groups, width], [..., value_width]
  const float* dy;         // [batch, queries, heads, value_width]
  int64_t q_strides[3], k_strides[3], v_strides[3], dy_strides[3];
  // Without gaps: [batch, queries, heads, width], [batch, keys, heads, width], [batch, keys, heads,
  // value_width]. Heads that share keys have their own share of dk and dv each.
  float *dq, *dk, *dv;
  int64_t batch, queries, keys, heads, groups, width, value_width;  // none is 0

  float scale;  // positive
  bool is_causal;
  int64_t window, prefix;
  const bool* key_mask;  // [batch, keys] or null: false hides a key
  bool rounds;           // factors of products to bfloat16, see kernels/factors.h
};

// A query that sees no key gives no gradients.
void attention_gradient(const AttentionGradient& args);

}  // namespace vlm::kernels
