#include "models/deepseek/layouts.h"

namespace vlm::deepseek {

namespace {

// SigLIP as timm names it.
constexpr VitNames kTimm{.class_token = nullptr,
                         .patch = "patch_embed.proj",
                         .positions = "pos_embed",
                         .pre_norm = nullptr,
                         .post_norm = "norm",
                         .encoder = {.layers = "blocks",
                                     .norm1 = "norm1",
                                     .norm2 = "norm2",
                                     .q = nullptr,
                                     .k = nullptr,
                                     .v = nullptr,
                                     .qkv_weight = "attn.qkv.weight",
                                     .qkv_bias = "attn.qkv.bias",
                                     .out = "attn.proj",
                                     .mlp = {"mlp.fc1", "mlp.fc2"}},
                         .has_leading_axes = true};

const Places kHuggingFace{.low_tower = "model.vision_model.vision_model",
                          .high_tower = "model.high_res_vision_model.vision_encoder",
                          .first_neck = "model.high_res_vision_neck",
                          .shrink1 = "model.high_res_vision_proj.conv1.weight",
                          .shrink2 = "model.high_res_vision_proj.conv2.weight",
                          .alpha = "model.high_res_vision_alpha",
                          .aligner = "model.aligner",
                          .low_up = "vision_proj",
                          .high_up = "high_res_vision_proj",
                          .join = "proj",
                          .mlp = {"linear1", "linear2"}};
const Places kAuthors{.low_tower = "vision_model.vision_tower",
                      .high_tower = "",
                      .first_neck = "",
                      .shrink1 = "",
                      .shrink2 = "",
                      .alpha = "",
                      .aligner = "aligner",
                      .low_up = "",
                      .high_up = "",
                      .join = "",
                      .mlp = {"layers.0", "layers.2"}};
const Places kAuthorsHybrid{.low_tower = "vision_model.vision_tower_low.vision_tower",
                            .high_tower = "vision_model.vision_tower_high.vision_tower",
                            .first_neck = "vision_model.vision_tower_high.vision_tower.neck_hd",
                            .shrink1 = "vision_model.vision_tower_high.vision_tower.downsamples.0.weight",
                            .shrink2 = "vision_model.vision_tower_high.vision_tower.downsamples.1.weight",
                            .alpha = "vision_model.vision_tower_high.vision_tower.hd_alpha_downsamples",
                            .aligner = "aligner",
                            .low_up = "low_up_proj",
                            .high_up = "high_up_proj",
                            .join = "layers.1",
                            .mlp = {}};

// What the names of the authors' towers stand for; other sizes are those of the tensors.
constexpr char kSiglip[] = "siglip_large_patch16_384", kSam[] = "sam_b_downsample";
constexpr int64_t kSiglipHeads = 16, kSamHeads = 12;

VitConfig siglip_from_tensors(const Weights& w) {
  VitConfig config;
  config.names = kTimm;
  config.has_patch_bias = true;
  config.encoder = {.hidden_size = 1024,
                    .intermediate_size = 4096,
                    .num_hidden_layers = 0,
                    .num_attention_heads = kSiglipHeads,
                    .layer_norm_eps = 1e-6};
  std::optional<Shape> patch = w.stored_shape("patch_embed.proj.weight"),
                       places = w.stored_shape("pos_embed"),
                       inner = w.stored_shape("blocks.0.mlp.fc1.weight");
  bool fits = patch && patch->size() == 4 && places && places->size() == 3 && inner && inner->size() == 2;
  if (!fits || (*patch)[0] % kSiglipHeads != 0)
    fail(ErrorKind::bad_checkpoint, "get the weight files again",
         "the tower {} is incomplete: patch_embed, pos_embed and blocks give its sizes", w.full_name(""));
  config.encoder.hidden_size = (*patch)[0];
  config.encoder.intermediate_size = (*inner)[0];
  while (config.encoder.num_hidden_layers < 1024 &&
         w.has(fmt::format("blocks.{}.norm1.weight", config.encoder.num_hidden_layers)))
    ++config.encoder.num_hidden_layers;
  config.num_channels = (*patch)[1], config.patch_size = (*patch)[3];
  int64_t grid = 1;
  while ((grid + 1) * (grid + 1) <= (*places)[1]) ++grid;
  config.image_size = grid * config.patch_size;
  return config;
}

}  // namespace

bool is_authors(const Checkpoint& checkpoint) {
  return checkpoint.config.get("model_type", "") == "multi_modality";
}

Config Config::hugging_face(const Json& json) {
  Config config;
  config.places = kHuggingFace;
  config.low = VitConfig::tower(json.at("vision_config"));
  if (json.has("high_res_vision_config")) config.high = SamVitConfig::from(json.at("high_res_vision_config"));
  config.text = DecoderConfig::from(json.at("text_config"), json.get("tie_word_embeddings", false));
  config.image_token = json.get("image_token_id", config.image_token);
  return config;
}

Config Config::authors(const Checkpoint& checkpoint, const Weights& w) {
  const Json& json = checkpoint.config;
  Json params = json.at("vision_config").at("params"), aligner = json.at("aligner_config").at("params");
  bool is_hybrid = params.has("high_res_cfg");
  auto check = [](const Json& tower, const char* name) {
    tower.require("model_name", name);
    tower.require("select_feature", "same");
    if (int64_t layer = tower.get<int64_t>("select_layer", -1); layer != -1)
      fail(ErrorKind::unsupported, "-1 is what every published checkpoint uses", "{}: select_layer = {}",
           tower.path(), layer);
  };
  Config config;
  config.places = is_hybrid ? kAuthorsHybrid : kAuthors;
  if (is_hybrid) {
    check(params.at("low_res_cfg"), kSiglip);
    check(params.at("high_res_cfg"), kSam);
    params.require("concat_type", "tuple");
    config.high = SamVitConfig::from_tensors(w / config.places.high_tower, kSamHeads);
  } else {
    check(params, kSiglip);
  }
  aligner.require("projector_type", is_hybrid ? "low_high_hybrid_split_mlp_gelu" : "mlp_gelu");
  if (int64_t depth = aligner.get<int64_t>("depth", 2); depth != 2)
    fail(ErrorKind::unsupported, "2 is what every published checkpoint uses", "{}: depth = {}",
         aligner.path(), depth);
  config.low = siglip_from_tensors(w / config.places.low_tower);
  config.text = DecoderConfig::from(json.at("language_config"));
  if (checkpoint.tokenizer.tokenizer)
    config.image_token = checkpoint.tokenizer.tokenizer->token_to_id(kImage).value_or(config.image_token);
  w.ignore(std::string(config.places.low_tower) + ".attn_pool.*");
  w.ignore("vision_model.high_layer_norm.*");
  w.ignore("vision_model.low_layer_norm.*");
  return config;
}

}  // namespace vlm::deepseek
