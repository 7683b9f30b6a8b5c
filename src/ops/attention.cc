#include "ops/attention.h"

#include <limits>

#include "kernels/attention.h"
#include "kernels/product.h"
#include "ops/choose.h"

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

// The definition.
Tensor attention_plain(const Tensor& q_BTAE, const Tensor& k_BSGE, const Tensor& v_BSGE,
                       const AttentionArgs& args) {
  int64_t batch = q_BTAE.size(0), num_queries = q_BTAE.size(1), num_heads = q_BTAE.size(2);
  int64_t num_keys = k_BSGE.size(1), num_groups = k_BSGE.size(2);
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

void copy_strides(const Tensor& tensor, int64_t (&strides)[3]) {
  for (int64_t axis = 0; axis < 3; ++axis) strides[axis] = tensor.stride(axis);
}

// A few tokens of one sequence are computed as each is alone, so that what a pass over guessed tokens finds
// is what passes over single ones find, to the bit. (How the kernel splits and sums the keys depends on how
// many queries it gets.)
bool counts_one_by_one(int64_t batch, int64_t num_queries, int64_t num_keys, const AttentionArgs& args) {
  if (batch != 1 || num_queries == 1 || num_queries > kernels::kFewRows) return false;
  // The first query must see all of the prefix; distances count from the last key where all keys are seen.
  return args.is_causal ? args.prefix <= num_keys - num_queries + 1 : !args.alibi_slopes.defined();
}

Tensor attention_fused(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionArgs& args) {
  int64_t batch = q.size(0), num_queries = q.size(1), num_heads = q.size(2), num_keys = k.size(1);
  kernels::Attention call{};
  Tensor y = at::empty({batch, num_queries, num_heads, v.size(3)}, q.options());
  call.q = q.data_ptr<float>();
  call.k = k.data_ptr<float>();
  call.v = v.data_ptr<float>();
  copy_strides(q, call.q_strides);
  copy_strides(k, call.k_strides);
  copy_strides(v, call.v_strides);
  call.y = y.data_ptr<float>();
  call.batch = batch;
  call.queries = num_queries;
  call.keys = num_keys;
  call.heads = num_heads;
  call.groups = k.size(2);
  call.width = q.size(3);
  call.value_width = v.size(3);
  call.scale = static_cast<float>(args.scale);
  call.is_causal = args.is_causal;
  call.window = args.window;
  call.prefix = args.prefix;
  call.softcap = static_cast<float>(args.softcap);
  Tensor slopes, mask, bias;  // must outlive the call
  if (args.alibi_slopes.defined()) {
    slopes = args.alibi_slopes.reshape({num_heads}).contiguous();
    call.alibi_slopes = slopes.data_ptr<float>();
  }
  if (args.key_mask.defined()) {
    mask = args.key_mask.expand({batch, num_keys}).contiguous();
    call.key_mask = mask.data_ptr<bool>();
  }
  if (args.bias.defined()) {
    bias = args.bias.expand({batch, num_heads, num_queries, num_keys});
    if (bias.stride(3) != 1) bias = bias.contiguous();
    call.bias = bias.data_ptr<float>();
    copy_strides(bias, call.bias_strides);
  }
  if (!counts_one_by_one(batch, num_queries, num_keys, args)) {
    kernels::attention(call);
    return y;
  }
  for (int64_t query = 0; query < num_queries; ++query) {
    kernels::Attention one = call;
    one.queries = 1;
    one.keys = args.is_causal ? num_keys - num_queries + query + 1 : num_keys;
    one.q += query * call.q_strides[1];
    one.y += query * num_heads * call.value_width;
    if (call.bias) one.bias += query * call.bias_strides[2];
    kernels::attention(one);
  }
  return y;
}

}  // namespace

Tensor attention(const Tensor& q_BTAE, const Tensor& k_BSGE, const Tensor& v_BSGE,
                 const AttentionArgs& args) {
  VLM_SHAPE(q_BTAE, kAny, kAny, kAny, kAny);
  VLM_SHAPE(k_BSGE, q_BTAE.size(0), kAny, kAny, q_BTAE.size(3));
  VLM_SHAPE(v_BSGE, q_BTAE.size(0), k_BSGE.size(1), k_BSGE.size(2), kAny);
  VLM_CHECK(k_BSGE.size(2) > 0 && q_BTAE.size(2) % k_BSGE.size(2) == 0, "{} query heads on {} key heads",
            q_BTAE.size(2), k_BSGE.size(2));
  bool has_plain_rows = q_BTAE.stride(3) == 1 && k_BSGE.stride(3) == 1 && v_BSGE.stride(3) == 1;
  if (!has_plain_rows || !use_kernel({q_BTAE, k_BSGE, v_BSGE, args.alibi_slopes, args.bias}) ||
      (args.key_mask.defined() && args.key_mask.scalar_type() != at::kBool))
    return attention_plain(q_BTAE, k_BSGE, v_BSGE, args);
  return attention_fused(q_BTAE, k_BSGE, v_BSGE, args);
}

}  // namespace vlm::ops
