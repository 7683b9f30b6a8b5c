#include "parts/decoders/cross_memory.h"

namespace vlm {

Tensor attend_memory(const Tensor& q_TAE, const nn::Packed& packed, const std::vector<CrossMemory>& memories,
                     int64_t layer, double scale) {
  VLM_CHECK(memories.size() == packed.spans.size(), "{} memories of {} sequences", memories.size(),
            packed.spans.size());
  ops::AttentionArgs args;
  args.scale = scale;
  std::vector<Tensor> outputs;
  int64_t begin = 0;
  for (size_t idx = 0; idx < memories.size(); ++idx) {
    int64_t count = packed.spans[idx].count;
    Tensor k_SAE = memories[idx].k_LSAE[layer], v_SAE = memories[idx].v_LSAE[layer];
    Tensor mixed = ops::attention(q_TAE.narrow(0, begin, count).unsqueeze(0), k_SAE.unsqueeze(0),
                                  v_SAE.unsqueeze(0), args);
    outputs.push_back(mixed.reshape({count, -1}));
    begin += count;
  }
  return outputs.size() == 1 ? outputs[0] : at::cat(outputs);
}

}  // namespace vlm
