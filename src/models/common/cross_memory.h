// Where a sequence keeps what its decoder reads of an encoder.
#pragma once

#include "parts/decoders/cross_memory.h"
#include "system/system.h"

namespace vlm {

void keep_memory(Sequence& sequence, const CrossMemory& memory);
CrossMemory memory_of(const Sequence& sequence);
std::vector<CrossMemory> memories_of(const std::vector<Generator::Continuation>& batch);

}  // namespace vlm
