// Softmax attention, block by block, without a matrix of all scores.
#pragma once

#include <cstdint>

#include "kernels/kv_rows.h"

namespace vlm::kernels {

struct Attention {
  // q [batch, queries, heads, width]: strides in elements of the first three axes, the last has none.
  const float* q;
  int64_t q_strides[3];
  KvType kv_type;
  KvRows k, v;  // [batch, keys, groups, width] and [..., value_width]; heads is a multiple of groups
  float* y;     // [batch, queries, heads, value_width] without gaps
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

  // Queries, keys, values and weights may be rounded to bfloat16, for machines that multiply these faster;
  // scores and sums stay in float32.
  bool may_round;
};

// A query that sees no key gets zeros.
void attention(const Attention& args);

// The two ways there are; attention() chooses. `few`: keys and values are read as they lie, once, and a query
// gets the same bits whether it comes alone or with others; it takes widths of at least kLeastWidthOfFew, and
// several calls at once, each with something to compute, as those of sequences that are decoded together.
// Rows are the queries of all heads of a group.
constexpr int64_t kMostQueriesOfFew = 8;
constexpr int64_t kMostRowsOfFew = 128;
constexpr int64_t kLeastWidthOfFew = 16;
bool is_of_few_rows(const Attention& args);
// Whether few rows of bfloat16 and int8 are multiplied in pairs of bfloat16: keys and values of 16 bits are
// read fastest as such tiles, and other ways with may_round would round them, too.
bool attends_in_pairs(int64_t heads, int64_t groups, bool may_round);
void attention_few_rows(const Attention& args);
void attentions_of_few_rows(const Attention* calls, int64_t count);
void attention_many_rows(const Attention& args);

}  // namespace vlm::kernels
