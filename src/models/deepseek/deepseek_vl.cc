// DeepSeek-VL [deepseek-vl]: SigLIP (1.3B), or SigLIP and SAM (7B) -> aligner -> DeepSeek-LLM (LLaMA).
// Paper: arXiv:2403.05525.  Reference: transformers DeepseekVLForConditionalGeneration,
// DeepseekVLHybridForConditionalGeneration; deepseek-ai/DeepSeek-VL.
// Checkpoints: deepseek-community/deepseek-vl-{1.3b,7b}-{base,chat},
// deepseek-ai/deepseek-vl-{1.3b,7b}-{base,chat}.
//
//   pixels_N3ss --SigLIP--> low_NPV                                             --Linear, GELU, Linear-->
//   image_NPD 7B: pixels_N3SS --SAM--> neck + alpha * neck_hd(first global layer) --2 strided convolutions-->
//   high_NPW
//       high_NPW, low_NPV --a Linear each--> concat --GELU, Linear--> image_NPD
//   ids_T --embed--> x_TD --splice at <image_placeholder>--> x_TD --LLaMA--> logits_TK
//
// s = 384, S = 1024 pixels, P = 24 * 24 = 576, V = W = 1024, D = 2048 or 4096.
// Unusual: SAM's rows stand before SigLIP's; SigLIP's last norm is applied and its GELU is exact; the
// authors' files name their towers instead of giving sizes, and keep an attention pool and two norms that
// nothing reads.
#include "models/common/spliced.h"
#include "models/deepseek/pictures.h"
#include "models/deepseek/systems.h"
#include "parts/connectors/mlp.h"
#include "parts/encoders/sam_vit.h"
#include "parts/encoders/vit.h"

namespace vlm::deepseek {

namespace {

constexpr char kImage[] = "<image_placeholder>";
constexpr char kTemplate[] =
    "You are a helpful language and vision assistant. You are able to understand the visual content that the "
    "user provides, and assist the user with a variety of tasks using natural language.\n\n"
    "{% for message in messages %}{% if message.role == 'assistant' %}Assistant: {% else %}User: {% endif %}"
    "{% for part in message.content %}{% if part.type == 'image' %}<image_placeholder>{% else %}"
    "{{ part.text | trim }}{% endif %}{% endfor %}{% if message.role == 'assistant' %}"
    "<\xef\xbd\x9c"
    "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>{% elif not loop.last or "
    "add_generation_prompt %}\n\n{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";

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

struct Config {
  VitConfig low;
  std::optional<SamVitConfig> high;
  DecoderConfig text;
  Places places;
  int64_t image_token = 100015;

  static Config hugging_face(const Json& json);
  static Config authors(const Checkpoint& checkpoint, const Weights& w);
};

Config Config::hugging_face(const Json& json) {
  Config config;
  config.places = kHuggingFace;
  config.low = VitConfig::tower(json.at("vision_config"));
  if (json.has("high_res_vision_config")) config.high = SamVitConfig::from(json.at("high_res_vision_config"));
  config.text = DecoderConfig::from(json.at("text_config"), json.get("tie_word_embeddings", false));
  config.image_token = json.get("image_token_id", config.image_token);
  return config;
}

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

// SAM's share of the 7B model's rows.
class HighTower {
 public:
  HighTower() = default;
  HighTower(const SamVitConfig& config, const Places& places, int64_t grid, const Weights& w)
      : grid_(grid),
        sam_(config, w / places.high_tower),
        first_neck_(w / places.first_neck, config.width, config.out_channels, config.names.neck),
        shrink1_(w.take(places.shrink1, {2 * config.out_channels, config.out_channels, 3, 3})),
        shrink2_(w.take(places.shrink2, {4 * config.out_channels, 2 * config.out_channels, 3, 3})),
        alpha_(w.take(places.alpha, {1})) {
    if (config.global_layers.empty() || config.global_layers.front() >= config.num_layers)
      fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
           "SAM's tower has no layer that sees the whole picture (global_attn_indexes)");
  }

  int64_t width() const { return 4 * sam_.config().out_channels; }
  Tensor operator()(const Tensor& pixels_N3SS) const {
    SamVit::States states = sam_(pixels_N3SS);
    Tensor sum = shrink(states.embeddings_NChw) + shrink(first_neck_(states.first_global_NhwV)) * alpha_;
    return sum.flatten(2).transpose(1, 2);  // [N, P, W]
  }

 private:
  Tensor shrink(const Tensor& x_NChw) const {
    Tensor scaled = at::upsample_bilinear2d(x_NChw, {4 * grid_, 4 * grid_}, /*align_corners=*/false);
    return at::conv2d(at::conv2d(scaled, shrink1_, {}, 2, 1), shrink2_, {}, 2, 1);
  }

  int64_t grid_ = 0;
  SamVit sam_;
  SamNeck first_neck_;
  Tensor shrink1_, shrink2_, alpha_;
};

class DeepseekVl final : public SplicedGenerator {
 public:
  DeepseekVl(Config config, const Checkpoint& checkpoint, const Weights& w)
      : SplicedGenerator(config.text, w / "language_model", checkpoint, {kImage, "", config.image_token},
                         kTemplate),
        config_(std::move(config)),
        low_(config_.low, w / config_.places.low_tower) {
    int64_t low_width = config_.low.encoder.hidden_size, width = config_.text.hidden_size;
    Weights aligner = w / config_.places.aligner;
    if (config_.high) {
      high_ = HighTower(*config_.high, config_.places, config_.low.grid(), w);
      low_up_ = nn::Linear(aligner / config_.places.low_up, low_width, width / 2, nn::Bias::yes);
      high_up_ = nn::Linear(aligner / config_.places.high_up, high_.width(), width / 2, nn::Bias::yes);
      join_ = nn::Linear(aligner / config_.places.join, width, width, nn::Bias::yes);
    } else {
      mlp_ = MlpConnector({.in = low_width, .out = width, .names = config_.places.mlp}, aligner);
    }
    if (const Json& json = checkpoint.preprocessor; !json.is_null())
      pictures_ = is_authors(checkpoint)
                      ? Pictures::authors(json, checkpoint.config.at("vision_config").at("params"))
                      : Pictures::hugging_face(json);
  }

  static bool is_authors(const Checkpoint& checkpoint) {
    return checkpoint.config.get("model_type", "") == "multi_modality";
  }

  Tensor encode(const MediaInput& media) const override {
    Tensor low_NPV = low_.last_hidden_state(media.pixel_values);
    if (!config_.high) return trace::point("hidden/connector", mlp_(low_NPV)).flatten(0, 1);
    Tensor high_NPW = high_(media.extra.at("high_res_pixel_values"));
    Tensor joined_NPD = at::cat({high_up_(high_NPW), low_up_(low_NPV)}, 2);
    return trace::point("hidden/connector", join_(ops::activate(joined_NPD, Act::gelu_erf))).flatten(0, 1);
  }
  PartNames part_names() const override { return {"*vision_*", "*aligner.*", "*"}; }

 private:
  MediaInput prepare_image(const Image& image, const Request&) const override {
    if (!pictures_)
      fail(ErrorKind::bad_checkpoint, "get preprocessor_config.json of this checkpoint",
           "the checkpoint says nothing about its pictures");
    MediaInput media;
    media.pixel_values = pictures_->low_pixels(image);
    if (config_.high) media.extra["high_res_pixel_values"] = pictures_->high_pixels(image);
    media.rows = config_.low.num_patches();
    return media;
  }

  Config config_;
  Vit low_;
  HighTower high_;
  MlpConnector mlp_;
  nn::Linear low_up_, high_up_, join_;
  std::optional<Pictures> pictures_;
};

}  // namespace

System deepseek_vl() {
  return {.slug = "deepseek-vl",
          .accepts =
              [](const Checkpoint& c) {
                return c.has_architecture("DeepseekVLForConditionalGeneration") ||
                       c.has_architecture("DeepseekVLHybridForConditionalGeneration") ||
                       (DeepseekVl::is_authors(c) &&
                        c.config.find("language_config").get("model_type", "") == "llama" &&
                        c.config.find("vision_config").has("params"));
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            Config config =
                DeepseekVl::is_authors(c) ? Config::authors(c, w) : Config::hugging_face(c.config);
            return std::make_unique<DeepseekVl>(std::move(config), c, w);
          },
          .layouts = {// transformers'; the authors' language model lies below its own name
                      {{"language_model.model.", "model.language_model."},
                       {"language_model.lm_head.", "lm_head."}}}};
}

}  // namespace vlm::deepseek
