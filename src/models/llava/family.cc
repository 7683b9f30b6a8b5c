#include "models/llava/family.h"

#include <nlohmann/json.hpp>

#include "models/common/media.h"
#include "models/llava/layouts.h"
#include "models/llava/templates.h"
#include "parts/processors/needed.h"

namespace vlm::llava {

namespace {

// Marks a picture between chunks that are tokenised apart; the authors' IMAGE_TOKEN_INDEX.
constexpr int64_t kAuthorsImageToken = -200;
constexpr char kStoredTower[] = "model.vision_tower.vision_tower.vision_model.";
// Views of a long video or a large picture run through the tower in groups, which bounds the memory.
constexpr int64_t kViewsAtOnce = 8;

std::string text_type(const Checkpoint& checkpoint) {
  std::string type = checkpoint.config.get("model_type", "llava");
  auto is = [&](const char* word, const char* architecture) {
    return type.find(word) != std::string::npos || checkpoint.has_architecture(architecture);
  };
  if (is("mistral", "LlavaMistralForCausalLM")) return "mistral";
  if (is("qwen", "LlavaQwenForCausalLM")) return "qwen2";
  if (is("mpt", "LlavaMptForCausalLM") || checkpoint.has_architecture("LlavaMPTForCausalLM")) return "mpt";
  return "llama";
}

// LLaVA-NeXT's code takes SigLIP towers without their last layer and head; files that store the tower store
// neither.
void use_siglip(Config& config, const TensorSource& source) {
  int64_t last = config.vision.encoder.num_hidden_layers - 1;
  auto stores = [&](const std::string& name) { return source.has(kStoredTower + name); };
  config.feature_layer = last;
  if (!stores("encoder.layers." + std::to_string(last) + ".layer_norm1.weight"))
    config.vision.encoder.num_hidden_layers = last;
  config.vision.has_attention_pool = stores("head.probe");
  config.drops_first_token = false;
}

MlpConnectorArgs authors_connector(const Json& json) {
  MlpConnectorArgs connector;
  std::string projector = json.get("mm_projector_type", "linear");
  if (projector == "linear")
    connector.names = {"linear_1"};
  else if (projector != "mlp2x_gelu")
    fail(ErrorKind::unsupported, "known: linear, mlp2x_gelu", "config.json: mm_projector_type = \"{}\"",
         projector);
  return connector;
}

// The template beside the authors' files is the language model's own and knows no pictures.
Checkpoint without_foreign_template(Checkpoint checkpoint) {
  if (is_authors(checkpoint)) checkpoint.chat_template = nullptr;
  return checkpoint;
}

std::string template_of(const Config& config, const Dialect& dialect) {
  return config.marks_images ? with_marked_images(dialect.default_template) : dialect.default_template;
}

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
  config.placeholders.image =
      json.get<int64_t>("image_token_index", json.get<int64_t>("image_token_id", 32000));
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
  nlohmann::json text = json.raw();  // the language model's keys lie at the top
  text["model_type"] = text_type(checkpoint);
  config.text = DecoderConfig::from(Json::wrap(std::move(text), "config.json"));
  config.feature_layer = json.get<int64_t>("mm_vision_select_layer", -2);
  config.drops_first_token = json.get("mm_vision_select_feature", "patch") == "patch";
  if (!config.vision.names.class_token) use_siglip(config, *checkpoint.source);
  config.placeholders.image = kAuthorsImageToken;
  config.tokenises_chunks = true;
  config.connector = authors_connector(json);
  config.connector.in = config.vision.encoder.hidden_size;
  config.connector.out = config.text.hidden_size;
  config.marks_images = json.get("mm_use_im_start_end", false);
  json.require("s2", false);  // features of several scales side by side; no published checkpoint has them
  return config;
}

Config config_of(const Checkpoint& checkpoint) {
  return is_authors(checkpoint) ? Config::authors(checkpoint) : Config::hugging_face(checkpoint);
}

std::vector<std::vector<Rename>> layouts(const std::vector<std::string>& extra) {
  std::vector<std::vector<Rename>> all{
      // transformers 4.52 and later, with a head of its own and without
      {{"language_model.model.", "model.language_model."},
       {"language_model.lm_head.", "lm_head."},
       {"vision_tower.", "model.vision_tower."},
       {"multi_modal_projector.", "model.multi_modal_projector."}},
      {{"language_model.model.", "model.language_model."},
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
      {{"language_model.", ""},
       {"vision_tower.", "model.vision_tower.vision_tower."},
       {"multi_modal_projector.linear_1.", "transformer.mm_projector."}},
  };
  for (std::vector<Rename>& layout : all)
    for (const std::string& name : extra) layout.push_back({name, "model." + name});
  return all;
}

Llava::Llava(Config config, const Checkpoint& checkpoint, const Weights& w, Dialect dialect)
    : SplicedGenerator(config.text, w / "language_model", without_foreign_template(checkpoint),
                       {dialect.image_mark, dialect.video_mark, config.placeholders},
                       template_of(config, dialect).c_str()),
      config_(std::move(config)),
      dialect_(std::move(dialect)),
      vision_(config_.vision, w / "vision_tower.vision_model"),
      connector_(config_.connector, w / "multi_modal_projector") {
  const Json& preprocessor =
      checkpoint.vision_tower ? checkpoint.vision_tower->preprocessor : checkpoint.preprocessor;
  if (!preprocessor.is_null()) processor_ = ImageProcessor::from(preprocessor);
  if (processor_ && checkpoint.config.get("image_aspect_ratio", "square") == "pad")
    processor_->pad_to_square = true;
}

const ImageProcessor& Llava::processor() const {
  return needed(processor_);
}

MediaInput Llava::prepare_image(const Image& image, const Request&) const {
  return single_view(image, processor_, config_.tokens_per_image());
}

std::vector<int64_t> Llava::tokenise(const std::string& text) const {
  if (!config_.tokenises_chunks) return SplicedGenerator::tokenise(text);
  const std::string& mark = args().image_mark.empty() ? args().video_mark : args().image_mark;
  const TokenizerInfo& info = tokenizer().info;
  std::vector<int64_t> ids;
  for (size_t begin = 0;;) {
    size_t end = text.find(mark, begin);
    std::vector<int64_t> chunk = tokenizer().tokenizer->ids(text.substr(begin, end - begin));
    bool repeats_bos = begin > 0 && !chunk.empty() && info.bos_id && chunk.front() == *info.bos_id;
    ids.insert(ids.end(), chunk.begin() + (repeats_bos ? 1 : 0), chunk.end());
    if (end == std::string::npos) return ids;
    ids.push_back(config_.placeholders.image);
    begin = end + mark.size();
  }
}

LabelledChat Llava::label(const Request& request,
                          const std::function<std::vector<int64_t>(const std::string&)>& tokens_of) const {
  if (!dialect_.label) return SplicedGenerator::label(request, tokens_of);
  std::string mark = dialect_.image_mark;
  return dialect_.label(request, {chat_template(), tokenizer().info,
                                  config_.marks_images ? with_marked_images(mark) : mark, tokens_of});
}

Tensor Llava::project(const Tensor& pixels_NCHW) const {
  std::vector<Tensor> groups;
  int64_t num_views = pixels_NCHW.size(0);
  int64_t at_once = at::GradMode::is_enabled() ? num_views : kViewsAtOnce;
  for (int64_t begin = 0; begin < num_views; begin += at_once) {
    Tensor state_NSV =
        vision_.hidden_state(pixels_NCHW.slice(0, begin, begin + at_once), config_.feature_layer);
    groups.push_back(connector_(config_.drops_first_token ? state_NSV.slice(1, 1) : state_NSV));
  }
  return trace::point("hidden/connector", at::cat(groups));
}

Tensor Llava::encode(const MediaInput& media) const {
  return project(media.pixel_values).flatten(0, 1);
}

LanguageTrainable::PartNames Llava::part_names() const {
  return {"*vision_tower*", "*m*_projector*", "*"};
}

}  // namespace vlm::llava
