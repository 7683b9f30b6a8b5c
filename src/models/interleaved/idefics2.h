// Idefics2's graph, which Mantis-8B-Idefics2 shares; described in idefics2.cc.
#pragma once

#include "models/interleaved/idefics_family.h"
#include "parts/connectors/perceiver.h"

namespace vlm::interleaved {

// preprocessor_config.json: the aspect ratio is kept, sizes are held between two bounds.
struct Idefics2Processor {
  int64_t shortest_edge = 378;
  int64_t longest_edge = 980;
  bool do_image_splitting = false;  // four quarters of the original in front of the whole
  ImageProcessor values;

  static Idefics2Processor from(const Json& preprocessor_config);
  std::vector<Image> views(const Image& image) const;
};

class Idefics2 final : public SplicedGenerator {
 public:
  Idefics2(const Checkpoint& checkpoint, const Weights& w);

  Tensor encode(const MediaInput& media) const override;
  PartNames part_names() const override { return {"*vision_model*", "*connector*", "*"}; }

 private:
  MediaInput prepare_image(const Image& image, const Request& request) const override;
  void arrange_media(std::vector<MediaInput>& media) const override;
  std::string expand_text(std::string text, const std::vector<MediaInput>& media) const override;
  void expand_ids(Prompt& prompt) const override { find_placeholders(prompt, args().placeholders); }

  NativeVit vision_;
  nn::Linear gate_, up_, down_;
  Act act_ = Act::silu;
  Perceiver perceiver_;
  int64_t num_latents_ = 64;
  std::optional<Idefics2Processor> processor_;
};

}  // namespace vlm::interleaved
