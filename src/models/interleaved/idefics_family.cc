#include "models/interleaved/idefics_family.h"

namespace vlm::interleaved {

DecoderConfig idefics_text(const Json& config) {
  DecoderConfig text =
      DecoderConfig::from(config.at("text_config"), config.get("tie_word_embeddings", false));
  text.names.stem = "model.text_model";
  return text;
}

VitConfig idefics_vision(const Json& config) {
  VitConfig vision = VitConfig::siglip(config.at("vision_config"));
  vision.has_attention_pool = false;
  return vision;
}

int64_t idefics_image_token(const Checkpoint& checkpoint, int64_t published) {
  return checkpoint.config.get("image_token_id", published);
}

std::string repeat(const std::string& text, int64_t count) {
  std::string copies;
  for (int64_t idx = 0; idx < count; ++idx) copies += text;
  return copies;
}

std::string replace_marks(const std::string& text, const std::vector<MediaInput>& media,
                          const std::function<std::string(const MediaInput&)>& text_of) {
  std::string expanded;
  size_t begin = 0;
  for (const MediaInput& input : media) {
    size_t at = text.find(kImageMark, begin);
    if (at == std::string::npos) break;
    expanded += text.substr(begin, at - begin) + text_of(input);
    begin = at + sizeof kImageMark - 1;
  }
  return expanded + text.substr(begin);
}

}  // namespace vlm::interleaved
