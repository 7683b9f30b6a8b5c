// The two layouts that DeepSeek-VL is published in: names, and where sizes come from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "parts/decoders/causal.h"
#include "parts/encoders/sam_vit.h"
#include "parts/encoders/vit.h"
#include "system/checkpoint.h"

namespace vlm::deepseek {

inline constexpr char kImage[] = "<image_placeholder>";

// Where the parts lie in a layout.
struct Places {
  const char* low_tower;
  const char* high_tower;
  const char* first_neck;  // of SAM's first global layer
  const char* shrink1;     // strided convolutions
  const char* shrink2;
  const char* alpha;
  const char* aligner;
  const char* low_up;  // of two towers
  const char* high_up;
  const char* join;
  std::vector<std::string> mlp;  // of one
};

struct Config {
  VitConfig low;
  std::optional<SamVitConfig> high;
  DecoderConfig text;
  Places places;
  int64_t image_token = 100015;

  static Config hugging_face(const Json& json);
  // Sizes are those of the tensors below `w`; what is stored and never read is ignored there.
  static Config authors(const Checkpoint& checkpoint, const Weights& w);
};

bool is_authors(const Checkpoint& checkpoint);

}  // namespace vlm::deepseek
