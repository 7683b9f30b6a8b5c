#include "ops/attention.h"

#include <limits>

namespace vlm::ops {

namespace {

// [T, S], true where query t may see key s; undefined when everybody sees everything.
Tensor visible(int64_t num_queries, int64_t num_keys, const AttentionArgs& args) {
  if (!args.is_causal || (num_queries == 1 && args.window == 0)) return Tensor();
  Tensor query = at::arange(num_keys - num_queries, num_keys, at::kLong).unsqueeze(1);
  Tensor key = at::arange(num_keys, at::kLong).unsqueeze(0);
  Tensor seen = key <= query;
  if (args.window > 0) seen = seen.logical_and(key > query - args.window);
  if (args.prefix > 0) seen = seen.logical_or(key < args.prefix);
  return seen;
}

}  // namespace

Tensor attention(const Tensor& q_BTAE, const Tensor& k_BSGE, const Tensor& v_BSGE,
                 const AttentionArgs& args) {
  int64_t batch = q_BTAE.size(0), num_queries = q_BTAE.size(1), num_heads = q_BTAE.size(2);
  int64_t num_keys = k_BSGE.size(1), num_groups = k_BSGE.size(2);
  VLM_CHECK(num_heads % num_groups == 0, "{} query heads on {} key heads", num_heads, num_groups);
  int64_t repeat = num_heads / num_groups;

  // Grouped queries: the heads of one group stand below each other as rows of one product.   B G (rT) E
  Tensor q = q_BTAE.permute({0, 2, 1, 3}).reshape({batch, num_groups, repeat * num_queries, q_BTAE.size(3)});
  Tensor k = k_BSGE.permute({0, 2, 3, 1});
  Tensor v = v_BSGE.permute({0, 2, 1, 3});
  Tensor scores = at::matmul(q * args.scale, k).view({batch, num_heads, num_queries, num_keys});
  if (args.softcap > 0) scores = at::tanh(scores / args.softcap) * args.softcap;
  if (args.alibi_slopes.defined()) {
    Tensor key = at::arange(num_keys, at::kFloat);
    Tensor query = at::arange(num_keys - num_queries, num_keys, at::kFloat);
    scores = scores + args.alibi_slopes.view({num_heads, 1, 1}) * (key.unsqueeze(0) - query.unsqueeze(1));
  }
  if (args.bias.defined()) scores = scores + args.bias;
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  if (Tensor seen = visible(num_queries, num_keys, args); seen.defined())
    scores = scores.masked_fill(seen.logical_not(), kHidden);
  if (args.key_mask.defined())
    scores = scores.masked_fill(args.key_mask.logical_not().view({batch, 1, 1, num_keys}), kHidden);
  Tensor weights = at::softmax(scores, -1).view({batch, num_groups, repeat * num_queries, num_keys});
  return at::matmul(weights, v)  // B G (rT) E -> B T A E
      .view({batch, num_heads, num_queries, v.size(3)})
      .permute({0, 2, 1, 3});
}

}  // namespace vlm::ops
