// open_clip's layout of CLIP, for the systems whose checkpoints are published in it.
#pragma once

#include "system/system.h"

namespace vlm::clip {

bool is_open_clip(const Checkpoint& checkpoint);
std::unique_ptr<Model> make_open_clip(const Checkpoint& checkpoint, const Weights& w);
// What training scripts put around the names.
std::vector<std::vector<Rename>> open_clip_layouts();

}  // namespace vlm::clip
