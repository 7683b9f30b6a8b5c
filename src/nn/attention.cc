#include "nn/attention.h"

#include <algorithm>

namespace vlm::nn {

namespace {

// Sequences without a cache, of one length and without a prefix, are an ordinary batch: one call serves them
// all.
bool is_uniform(const Packed& packed) {
  return std::all_of(packed.spans.begin(), packed.spans.end(), [&](const Packed::Span& span) {
    return !span.cache && span.prefix == 0 && span.count == packed.spans.front().count;
  });
}

}  // namespace

Tensor attend(const Tensor& q_TAE, const Tensor& k_TGE, const Tensor& v_TGE, const Packed& packed,
              int64_t layer, ops::AttentionArgs args) {
  int64_t tokens = q_TAE.size(0);
  auto batched = [](const Tensor& rows, int64_t batch) {
    return rows.view({batch, rows.size(0) / batch, rows.size(1), rows.size(2)});
  };
  if (is_uniform(packed)) {
    int64_t batch = static_cast<int64_t>(packed.spans.size());
    if (packed.bias.defined()) args.bias = packed.bias;
    return ops::attention(batched(q_TAE, batch), batched(k_TGE, batch), batched(v_TGE, batch), args)
        .reshape({tokens, -1});
  }
  VLM_CHECK(!packed.bias.defined(), "a bias for {} sequences that differ", packed.spans.size());
  bool in_tiles = ops::attends_in_tiles(q_TAE.size(1), k_TGE.size(1), args.may_round);
  std::vector<ops::Sequence> sequences;
  int64_t begin = 0;
  for (const Packed::Span& span : packed.spans) {
    Tensor k = k_TGE.narrow(0, begin, span.count), v = v_TGE.narrow(0, begin, span.count);
    sequences.push_back({span.count,
                         span.cache ? span.cache->append(layer, k, v, in_tiles)
                                    : ops::KeyValues{k.unsqueeze(0), v.unsqueeze(0), {}, {}},
                         span.prefix});
    begin += span.count;
  }
  return ops::attention(q_TAE, sequences, args).reshape({tokens, -1});
}

}  // namespace vlm::nn
