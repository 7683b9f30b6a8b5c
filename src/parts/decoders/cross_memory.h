// What the decoder of an encoder-decoder keeps of its encoder.
#pragma once

#include <vector>

#include "nn/kv_cache.h"
#include "ops/attention.h"

namespace vlm {

// Keys and values of every layer's cross-attention, of one sequence.
struct CrossMemory {
  Tensor k_LSAE, v_LSAE;
  bool defined() const { return k_LSAE.defined(); }
};

// The new queries of each packed sequence against its own memory: q [T, A, E] -> [T, A * E].
Tensor attend_memory(const Tensor& q_TAE, const nn::Packed& packed, const std::vector<CrossMemory>& memories,
                     int64_t layer, double scale);

}  // namespace vlm
