#pragma once

#include "system/system.h"

namespace vlm::interleaved {

std::unique_ptr<Model> make_mantis_fuyu(const Checkpoint& checkpoint, const Weights& weights);

}  // namespace vlm::interleaved
