#include "models/llava/family.h"

#include <nlohmann/json.hpp>

namespace vlm::llava {

namespace {

constexpr char kImage[] = "<image>";
// Marks a picture between chunks that are tokenised apart; the authors' IMAGE_TOKEN_INDEX.
constexpr int64_t kAuthorsImageToken = -200;

}  // namespace

Config Config::hugging_face(const Checkpoint& checkpoint) {
  const Json& json = checkpoint.config;
  Config config;
  config.vision = VitConfig::tower(json.at("vision_config"));
  config.text = DecoderConfig::from(json.at("text_config"), json.get("tie_word_embeddings", false));
  config.feature_layer = json.get<int64_t>("vision_feature_layer", -2);
  std::string strategy = json.get("vision_feature_select_strategy", "default");
  if (strategy != "default" && strategy != "full")
    fail(ErrorKind::unsupported, "known: default, full",
         "config.json: vision_feature_select_strategy = \"{}\"", strategy);
  config.drops_first_token = strategy == "default";
  config.image_token = json.get<int64_t>("image_token_index", json.get<int64_t>("image_token_id", 32000));
  config.connector = {
      .in = config.vision.encoder.hidden_size,
      .out = config.text.hidden_size,
      .act = act_from(json.get("projector_hidden_act", "gelu"), "config.json: projector_hidden_act"),
      .has_bias = json.get("multimodal_projector_bias", true)};
  json.ignore({"ignore_index", "image_seq_length", "pad_token_id", "vocab_size"});
  return config;
}

Config Config::authors(const Checkpoint& checkpoint) {
  const Json& json = checkpoint.config;
  if (!checkpoint.vision_tower)
    fail(ErrorKind::bad_checkpoint, "get the tower named in mm_vision_tower",
         "{}: the vision tower was not found", checkpoint.name);
  Config config;
  const Json& tower = checkpoint.vision_tower->config;
  config.vision = VitConfig::tower(tower.has("vision_config") ? tower.at("vision_config") : tower);
  std::string type = json.get("model_type", "llava");
  nlohmann::json text = json.raw();  // the language model's keys lie at the top
  text["model_type"] =
      type.find("mistral") != std::string::npos || checkpoint.has_architecture("LlavaMistralForCausalLM")
          ? "mistral"
          : "llama";
  config.text = DecoderConfig::from(Json::wrap(std::move(text), "config.json"));
  config.feature_layer = json.get<int64_t>("mm_vision_select_layer", -2);
  config.drops_first_token = json.get("mm_vision_select_feature", "patch") == "patch";
  config.image_token = kAuthorsImageToken;
  config.tokenises_chunks = true;
  std::string projector = json.get("mm_projector_type", "linear");
  config.connector = {.in = config.vision.encoder.hidden_size, .out = config.text.hidden_size};
  if (projector == "linear")
    config.connector.names = {"linear_1"};
  else if (projector != "mlp2x_gelu")
    fail(ErrorKind::unsupported, "known: linear, mlp2x_gelu", "config.json: mm_projector_type = \"{}\"",
         projector);
  json.require("mm_use_im_start_end", false);
  return config;
}

std::vector<std::vector<Rename>> layouts() {
  return {
      // transformers 4.52 and later
      {{"language_model.model.", "model.language_model."},
       {"language_model.lm_head.", "lm_head."},
       {"vision_tower.", "model.vision_tower."},
       {"multi_modal_projector.", "model.multi_modal_projector."}},
      // the authors' own, with the two-layer projector and with LLaVA 1's single layer
      {{"language_model.", ""},
       {"vision_tower.", "model.vision_tower.vision_tower."},
       {"multi_modal_projector.linear_1.", "model.mm_projector.0."},
       {"multi_modal_projector.linear_2.", "model.mm_projector.2."}},
      {{"language_model.", ""},
       {"vision_tower.", "model.vision_tower.vision_tower."},
       {"multi_modal_projector.linear_1.", "model.mm_projector."}},
  };
}

Llava::Llava(Config config, const Checkpoint& checkpoint, const Weights& w, const char* default_template)
    : SplicedGenerator(config.text, w / "language_model", checkpoint, {kImage, "", config.image_token},
                       default_template),
      config_(std::move(config)),
      vision_(config_.vision, w / "vision_tower.vision_model"),
      connector_(config_.connector, w / "multi_modal_projector") {
  const Json& preprocessor =
      checkpoint.vision_tower ? checkpoint.vision_tower->preprocessor : checkpoint.preprocessor;
  if (!preprocessor.is_null()) processor_ = ImageProcessor::from(preprocessor);
  if (processor_ && checkpoint.config.get("image_aspect_ratio", "square") == "pad")
    processor_->pad_to_square = true;
}

MediaInput Llava::prepare_image(const Image& image, const Request&) const {
  if (!processor_)
    fail(ErrorKind::bad_checkpoint, "get preprocessor_config.json of this checkpoint",
         "the checkpoint says nothing about its pictures");
  MediaInput media;
  media.pixel_values = (*processor_)(image).unsqueeze(0);
  media.rows = config_.tokens_per_image();
  return media;
}

std::vector<int64_t> Llava::tokenise(const std::string& text) const {
  if (!config_.tokenises_chunks) return SplicedGenerator::tokenise(text);
  const TokenizerInfo& info = tokenizer().info;
  std::vector<int64_t> ids;
  for (size_t begin = 0;;) {
    size_t end = text.find(kImage, begin);
    std::vector<int64_t> chunk = tokenizer().tokenizer->ids(text.substr(begin, end - begin));
    bool repeats_bos = begin > 0 && !chunk.empty() && info.bos_id && chunk.front() == *info.bos_id;
    ids.insert(ids.end(), chunk.begin() + (repeats_bos ? 1 : 0), chunk.end());
    if (end == std::string::npos) return ids;
    ids.push_back(config_.image_token);
    begin = end + sizeof kImage - 1;
  }
}

Tensor Llava::encode(const MediaInput& media) const {
  Tensor state_NSV = vision_.hidden_state(media.pixel_values, config_.feature_layer);
  Tensor image_NPD = connector_(config_.drops_first_token ? state_NSV.slice(1, 1) : state_NSV);
  return trace::point("hidden/connector", image_NPD).flatten(0, 1);
}

LanguageTrainable::PartNames Llava::part_names() const {
  return {"*vision_tower*", "*m*_projector*", "*"};
}

}  // namespace vlm::llava
