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
#include "models/deepseek/layouts.h"
#include "models/deepseek/pictures.h"
#include "models/deepseek/systems.h"
#include "parts/connectors/mlp.h"
#include "parts/processors/needed.h"

namespace vlm::deepseek {

namespace {

constexpr char kTemplate[] =
    "You are a helpful language and vision assistant. You are able to understand the visual content that the "
    "user provides, and assist the user with a variety of tasks using natural language.\n\n"
    "{% for message in messages %}{% if message.role == 'assistant' %}Assistant: {% elif message.role == "
    "'user' %}User: {% endif %}"
    "{% for part in message.content %}{% if part.type == 'image' %}<image_placeholder>{% else %}"
    "{{ part.text | trim }}{% endif %}{% endfor %}{% if message.role == 'assistant' %}"
    "<\xef\xbd\x9c"
    "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>{% elif not loop.last or "
    "add_generation_prompt %}\n\n{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}";

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
    const Pictures& pictures = needed(pictures_);
    MediaInput media;
    media.pixel_values = pictures.low_pixels(image);
    if (config_.high) media.extra["high_res_pixel_values"] = pictures.high_pixels(image);
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
                       (is_authors(c) && c.config.find("language_config").get("model_type", "") == "llama" &&
                        c.config.find("vision_config").has("params"));
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            Config config = is_authors(c) ? Config::authors(c, w) : Config::hugging_face(c.config);
            return std::make_unique<DeepseekVl>(std::move(config), c, w);
          },
          .layouts = {// transformers'; the authors' language model lies below its own name
                      {{"language_model.model.", "model.language_model."},
                       {"language_model.lm_head.", "lm_head."}}}};
}

}  // namespace vlm::deepseek
