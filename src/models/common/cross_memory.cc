#include "models/common/cross_memory.h"

namespace vlm {

namespace {

constexpr char kKeys[] = "cross_keys", kValues[] = "cross_values";

}  // namespace

void keep_memory(Sequence& sequence, const CrossMemory& memory) {
  sequence.extra[kKeys] = memory.k_LSAE;
  sequence.extra[kValues] = memory.v_LSAE;
}

CrossMemory memory_of(const Sequence& sequence) {
  VLM_CHECK(sequence.extra.count(kKeys), "a sequence without its encoder's memory");
  return {sequence.extra.at(kKeys), sequence.extra.at(kValues)};
}

std::vector<CrossMemory> memories_of(const std::vector<Generator::Continuation>& batch) {
  std::vector<CrossMemory> memories;
  for (const Generator::Continuation& piece : batch) memories.push_back(memory_of(*piece.sequence));
  return memories;
}

}  // namespace vlm
