#pragma once

#include "system/system.h"

namespace vlm::blip {

std::unique_ptr<Model> make_blip_2_matcher(const Checkpoint& checkpoint, const Weights& w);

}  // namespace vlm::blip
