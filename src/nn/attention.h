#pragma once

#include "nn/kv_cache.h"
#include "ops/attention.h"

namespace vlm::nn {

// Attention of a decoder layer over packed sequences: new keys and values go into each sequence's cache, and
// its queries attend to all of its keys. q [T, A, E], k [T, G, E], v [T, G, Ev] -> [T, A * Ev]. `args.prefix`
// comes from the spans.
Tensor attend(const Tensor& q_TAE, const Tensor& k_TGE, const Tensor& v_TGE, const Packed& packed,
              int64_t layer, ops::AttentionArgs args);

}  // namespace vlm::nn
