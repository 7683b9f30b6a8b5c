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
  std::vector<Tensor> outputs;
  int64_t begin = 0;
  for (const Packed::Span& span : packed.spans) {
    Tensor k = k_TGE.narrow(0, begin, span.count);
    Tensor v = v_TGE.narrow(0, begin, span.count);
    args.prefix = span.prefix;
    Tensor q_1TAE = q_TAE.narrow(0, begin, span.count).unsqueeze(0);
    Tensor mixed = span.cache ? ops::attention(q_1TAE, span.cache->append(layer, k, v, in_tiles), args)
                              : ops::attention(q_1TAE, k.unsqueeze(0), v.unsqueeze(0), args);
    outputs.push_back(mixed.reshape({span.count, -1}));
    begin += span.count;
  }
  return outputs.size() == 1 ? outputs[0] : at::cat(outputs);
}

}  // namespace vlm::nn
