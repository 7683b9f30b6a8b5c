// What the LLaVA-1.5 graph is made of, for the systems that share it.
//
//   pixels_N3HW --Vit--> state of layer vision_feature_layer, NSV --select--> NPV --MlpConnector--> image_NPD
//   ids_T --embed--> x_TD --splice image rows at <image>--> x_TD --CausalDecoder--> logits_TK
//
// N pictures, P image tokens each, V vision width, T tokens, D text width, K vocabulary.
#pragma once

#include "models/common/spliced.h"
#include "parts/connectors/mlp.h"
#include "parts/encoders/vit.h"
#include "parts/processors/image_processor.h"

namespace vlm::llava {

struct Config {
  VitConfig vision;
  DecoderConfig text;
  int64_t feature_layer = -2;  // index into the tower's hidden states
  bool drops_first_token =
      true;  // select strategy "default": without the class token (or SigLIP's first patch)
  int64_t image_token = 32000;
  MlpConnectorArgs connector;
  bool tokenises_chunks = false;  // the authors' code encodes the text between pictures piece by piece

  static Config hugging_face(const Checkpoint& checkpoint);  // LlavaForConditionalGeneration
  static Config authors(const Checkpoint& checkpoint);       // LlavaLlamaForCausalLM, LlavaMistralForCausalLM

  int64_t tokens_per_image() const { return vision.num_tokens() - (drops_first_token ? 1 : 0); }
};

class Llava final : public SplicedGenerator {
 public:
  // `default_template`: for checkpoints that publish none.
  Llava(Config config, const Checkpoint& checkpoint, const Weights& w, const char* default_template);

  Tensor encode(const MediaInput& media) const override;
  PartNames part_names() const override;

 private:
  MediaInput prepare_image(const Image& image, const Request& request) const override;
  std::vector<int64_t> tokenise(const std::string& text) const override;

  Config config_;
  Vit vision_;
  MlpConnector connector_;
  std::optional<ImageProcessor> processor_;
};

// The other layouts these checkpoints are published in.
std::vector<std::vector<Rename>> layouts();

}  // namespace vlm::llava
