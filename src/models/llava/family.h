// What the LLaVA-1.5 graph is made of, for the systems that share it.
//
//   pixels_NCHW --Vit--> state of layer vision_feature_layer, NSV --select--> NPV --MlpConnector--> image_NPD
//   ids_T --embed--> x_TD --splice image rows at <image>--> x_TD --CausalDecoder--> logits_TK
//
// N pictures or views, P image tokens each, V vision width, T tokens, D text width, K vocabulary.
#pragma once

#include "models/common/spliced.h"
#include "models/llava/labels.h"
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
  Placeholders placeholders{32000};
  MlpConnectorArgs connector;
  bool tokenises_chunks = false;  // the authors' code encodes the text between pictures piece by piece
  bool marks_images = false;      // mm_use_im_start_end: <im_start><image><im_end> in templates

  static Config hugging_face(const Checkpoint& checkpoint);  // Llava*ForConditionalGeneration
  static Config authors(const Checkpoint& checkpoint);       // LlavaLlamaForCausalLM and its siblings

  int64_t tokens_per_image() const { return vision.num_tokens() - (drops_first_token ? 1 : 0); }
};

Config config_of(const Checkpoint& checkpoint);  // by its layout

// What systems of the family differ in beside their config: how prompts are written.
struct Dialect {
  std::string default_template;  // for checkpoints that publish none
  std::string image_mark = "<image>";
  std::string video_mark = {};
  std::vector<std::string> stop_strings = {};
  LabelledChat (*label)(const Request&,
                        const LabelArgs&) = nullptr;  // null: the assistant's turns are learnt
};

class Llava : public SplicedGenerator {
 public:
  Llava(Config config, const Checkpoint& checkpoint, const Weights& w, Dialect dialect);

  Tensor encode(const MediaInput& media) const override;
  PartNames part_names() const override;
  std::vector<std::string> stop_strings() const override { return dialect_.stop_strings; }

 protected:
  MediaInput prepare_image(const Image& image, const Request& request) const override;
  std::vector<int64_t> tokenise(const std::string& text) const override;
  LabelledChat label(const Request& request,
                     const std::function<std::vector<int64_t>(const std::string&)>& tokens_of) const override;

  const Config& config() const { return config_; }
  const ImageProcessor& processor() const;  // throws bad_checkpoint when the checkpoint publishes none
  Tensor project(const Tensor& pixels_NCHW) const;  // [N, P, D]

 private:
  Config config_;
  Dialect dialect_;
  Vit vision_;
  MlpConnector connector_;
  std::optional<ImageProcessor> processor_;
};

// The other layouts these checkpoints are published in; `extra`: parameters beside tower, projector and
// language model.
std::vector<std::vector<Rename>> layouts(const std::vector<std::string>& extra = {});

}  // namespace vlm::llava
