#include "models/llava/layouts.h"

#include <algorithm>
#include <cctype>

namespace vlm::llava {

namespace {

bool holds(std::string text, std::string_view word) {
  for (char& letter : text) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return text.find(word) != std::string::npos;
}

std::string aspect(const Checkpoint& checkpoint) {
  return checkpoint.config.get("image_aspect_ratio", "square");
}

}  // namespace

bool is_authors(const Checkpoint& checkpoint) {
  return checkpoint.config.has("mm_vision_tower");
}

bool is_authors_tiled(const Checkpoint& checkpoint) {
  if (!is_authors(checkpoint)) return false;
  bool is_known = false;
  for (const char* architecture :
       {"LlavaLlamaForCausalLM", "LlavaMistralForCausalLM", "LlavaQwenForCausalLM"})
    is_known |= checkpoint.has_architecture(architecture);
  return is_known && aspect(checkpoint).starts_with("anyres");
}

bool has_limited_tiles(const Checkpoint& checkpoint) {
  return aspect(checkpoint).starts_with("anyres_max");
}

bool is_authors_single_view(const Checkpoint& checkpoint) {
  // ConvLLaVA keeps the architecture's name with a tower of another kind.
  return is_authors(checkpoint) && !aspect(checkpoint).starts_with("anyres") &&
         !holds(checkpoint.config.get("mm_vision_tower", ""), "convnext");
}

bool has_mlp_projector(const Checkpoint& checkpoint) {
  return checkpoint.config.get("mm_projector_type", "linear") != "linear";
}

bool has_siglip_inside_clip(const Checkpoint& checkpoint) {
  return checkpoint.has_architecture("LlavaMistralForCausalLM") &&
         holds(checkpoint.config.get("mm_vision_tower", ""), "siglip");
}

bool names(const Checkpoint& checkpoint, std::string_view word) {
  return holds(checkpoint.name, word);
}

}  // namespace vlm::llava
