// Which checkpoint of the family is which: several systems share an architecture's name.
#pragma once

#include <string_view>

#include "system/checkpoint.h"

namespace vlm::llava {

// The authors' layout (haotian-liu/LLaVA and its forks) names the vision tower at the top of config.json.
bool is_authors(const Checkpoint& checkpoint);
// Pictures as one view: squares or crops. LLaVA-1.6 cuts tiles ("anyres"), OneVision as many as it is told
// ("anyres_max_9").
bool is_authors_single_view(const Checkpoint& checkpoint);
bool is_authors_tiled(const Checkpoint& checkpoint);
bool has_limited_tiles(const Checkpoint& checkpoint);
// Two layers, since LLaVA-1.5; before, a single one.
bool has_mlp_projector(const Checkpoint& checkpoint);
// Nous-Hermes-2-Vision's tower: SigLIP's weights in a file for transformers' CLIP class.
bool has_siglip_inside_clip(const Checkpoint& checkpoint);
// The checkpoint's name holds the word, in any case.
bool names(const Checkpoint& checkpoint, std::string_view word);

}  // namespace vlm::llava
