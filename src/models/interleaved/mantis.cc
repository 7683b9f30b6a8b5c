// Mantis [mantis]: several pictures between the words of a conversation, in three graphs.
// Paper: arXiv:2405.01483.  Reference: TIGER-AI-Lab/Mantis (mllava, mfuyu); transformers for the graphs.
// Checkpoints: TIGER-Lab/Mantis-8B-{siglip,clip}-llama3, Mantis-8B-Idefics2, Mantis-8B-Fuyu.
//
//   siglip, clip: pixels_N3HW --Vit--> state -2, NSV --drop the first--> NPV --MLP--> rows_NPD
//                 ids_T --embed--> x_TD --splice at <image>--> x_TD --Llama 3--> logits_TK
//   Idefics2, Fuyu: as those systems, the latter's pictures between the words
//
// P = 728 of SigLIP's 729 patches (576 with CLIP), D = 4096, K = 128258.
// Unusual: SigLIP has no class token, "default" drops its first patch all the same; each picture stands as
// "(image 1: <Image><image></Image>)" in the text; the system message with which the authors ask is a
// pirate's.
#include "models/common/media.h"
#include "models/common/spliced.h"
#include "models/interleaved/idefics2.h"
#include "models/interleaved/mantis_fuyu.h"
#include "models/interleaved/systems.h"
#include "parts/connectors/mlp.h"
#include "parts/encoders/vit.h"
#include "parts/processors/image_processor.h"

namespace vlm::interleaved {

namespace {

constexpr int64_t kPublishedImageToken = 128256;
// Pictures count from 1 through the whole conversation.
#define VLM_MANTIS_CONTENT                                                                              \
  "{% for part in message.content %}{% if part.type == 'image' %}{% set seen.count = seen.count + 1 %}" \
  "(image {{ seen.count }}: <Image><image></Image>){% if not loop.last %} {% endif %}"                  \
  "{% elif part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
constexpr char kLlama3Template[] =
    "{% set seen = namespace(count=0) %}"
    "{% if messages[0].role != 'system' %}<|start_header_id|>system<|end_header_id|>\n\nYou are a pirate "
    "chatbot who always responds in pirate speak!<|eot_id|>{% endif %}"
    "{% for message in messages %}<|start_header_id|>{{ message.role "
    "}}<|end_header_id|>\n\n" VLM_MANTIS_CONTENT
    "<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}";
#undef VLM_MANTIS_CONTENT

class Mllava final : public SplicedGenerator {
 public:
  Mllava(const Checkpoint& checkpoint, const Weights& w)
      : SplicedGenerator(DecoderConfig::from(checkpoint.config.at("text_config"),
                                             checkpoint.config.get("tie_word_embeddings", false)),
                         w / "language_model", checkpoint, {kImageMark, "", image_token(checkpoint.config)},
                         kLlama3Template),
        vision_config_(VitConfig::tower(checkpoint.config.at("vision_config"))),
        vision_(vision_config_, w / "vision_tower.vision_model") {
    const Json& json = checkpoint.config;
    feature_layer_ = json.get<int64_t>("vision_feature_layer", -2);
    std::string strategy = json.get("vision_feature_select_strategy", "default");
    if (strategy != "default" && strategy != "full")
      fail(ErrorKind::unsupported, "known: default, full",
           "config.json: vision_feature_select_strategy = \"{}\"", strategy);
    drops_first_ = strategy == "default";
    json.ignore({"ignore_index", "pad_token_id", "image_seq_length", "vocab_size"});
    connector_ = MlpConnector(
        {.in = vision_config_.encoder.hidden_size,
         .out = text().config().hidden_size,
         .act = act_from(json.get("projector_hidden_act", "gelu"), "config.json: projector_hidden_act"),
         .has_bias = json.get("multimodal_projector_bias", true)},
        w / "multi_modal_projector");
    if (!checkpoint.preprocessor.is_null()) processor_ = ImageProcessor::from(checkpoint.preprocessor);
  }

  Tensor encode(const MediaInput& media) const override {
    Tensor state_NSV = vision_.hidden_state(media.pixel_values, feature_layer_);
    return connector_(drops_first_ ? state_NSV.slice(1, 1) : state_NSV).flatten(0, 1);
  }

  PartNames part_names() const override { return {"*vision_tower*", "*multi_modal_projector*", "*"}; }

 private:
  static int64_t image_token(const Json& json) {
    return json.get("image_token_index", json.get("image_token_id", kPublishedImageToken));
  }

  MediaInput prepare_image(const Image& image, const Request&) const override {
    return single_view(image, processor_, vision_config_.num_tokens() - (drops_first_ ? 1 : 0));
  }

  VitConfig vision_config_;
  Vit vision_;
  MlpConnector connector_;
  int64_t feature_layer_ = -2;
  bool drops_first_ = true;
  std::optional<ImageProcessor> processor_;
};

std::unique_ptr<Model> make(const Checkpoint& checkpoint, const Weights& w) {
  if (checkpoint.has_architecture("Idefics2ForConditionalGeneration"))
    return std::make_unique<Idefics2>(checkpoint, w);
  if (checkpoint.has_architecture("FuyuForCausalLM") || checkpoint.has_architecture("MFuyuForCausalLM"))
    return make_mantis_fuyu(checkpoint, w);
  return std::make_unique<Mllava>(checkpoint, w);
}

}  // namespace

System mantis() {
  return {.slug = "mantis",
          .accepts = is_mantis,
          .make = make,
          .layouts = {{{"language_model.model.", "model.language_model."},
                       {"language_model.lm_head.", "lm_head."},
                       {"vision_tower.", "model.vision_tower."},
                       {"multi_modal_projector.", "model.multi_modal_projector."}}}};
}

}  // namespace vlm::interleaved
