// Idefics2 [idefics2]: SigLIP at the picture's own aspect ratio -> gated MLP -> perceiver -> Mistral.
// Paper: arXiv:2405.02246.  Reference: transformers Idefics2ForConditionalGeneration.
// Checkpoints: HuggingFaceM4/idefics2-8b, -base, -chatty.
//
//   picture --[4 quarters +] whole, each 378..980 a side--> padded together --> pixels_N3HW, mask_NHW
//   pixels_N3HW --NativeVit--> x_NPV --gated MLP--> x_NPD --Perceiver--> rows_NQD
//   ids_T --embed--> x_TD --splice at <image>--> x_TD --Mistral--> logits_TK
//
// N views, P patches of 14 pixels, Q = 64 rows a view, V = 1152, D = 4096, K = 32003.
// Unusual: padding comes after normalisation, and a patch counts as real only when all of its pixels are; a
// side's remainder is lost at the border of the padded size; two pictures next to each other share the fake
// token between them.
#include "models/interleaved/idefics2.h"

#include <algorithm>

#include "models/interleaved/systems.h"

namespace vlm::interleaved {

namespace {

constexpr int64_t kPublishedImageToken = 32001;
constexpr char kTemplate[] =
    "{% for message in messages %}{{ message['role'].capitalize() }}"
    "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}<image>{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}";

PerceiverConfig perceiver_config(const Json& json, const DecoderConfig& text) {
  PerceiverConfig config;
  config.width = json.integer("hidden_size", 1, 1 << 16, text.hidden_size);
  if (config.width != text.hidden_size)
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "{}: hidden_size {}, the text's is {}", json.path(), config.width, text.hidden_size);
  config.inner = 4 * config.width;
  config.depth = json.integer("resampler_depth", 1, 256, 3);
  config.num_latents = json.integer("resampler_n_latents", 1, 1 << 14, 64);
  config.num_heads = json.integer("resampler_n_heads", 1, 1024, 16);
  config.num_groups = json.integer("num_key_value_heads", 1, config.num_heads, 4);
  config.head_dim = json.integer("resampler_head_dim", 1, 1 << 14, 96);
  if (config.num_heads % config.num_groups != 0)
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "{}: {} query heads on {} key heads", json.path(), config.num_heads, config.num_groups);
  config.eps = json.get("rms_norm_eps", text.norm_eps);
  config.act = act_from(json.get("hidden_act", "silu"), json.path() + ": hidden_act");
  return config;
}

std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace

Idefics2Processor Idefics2Processor::from(const Json& json) {
  Idefics2Processor processor;
  Json size = json.find("size");
  processor.shortest_edge = size.integer("shortest_edge", 1, 1 << 14, 378);
  processor.longest_edge = size.integer("longest_edge", processor.shortest_edge, 1 << 14, 980);
  processor.do_image_splitting = json.get("do_image_splitting", false);
  json.require("do_resize", true);
  json.require("do_pad", true);
  processor.values.resample = Filter::bilinear;
  processor.values.read_values(json);
  return processor;
}

std::vector<Image> Idefics2Processor::views(const Image& image) const {
  std::vector<Image> views;
  if (do_image_splitting) {
    int64_t y = image.height / 2, x = image.width / 2;
    if (y > 0 && x > 0)
      for (auto [top, height] : {std::pair{int64_t{0}, y}, std::pair{y, image.height - y}})
        for (auto [left, width] : {std::pair{int64_t{0}, x}, std::pair{x, image.width - x}})
          views.push_back(crop(image, top, left, height, width));
    else
      fail(ErrorKind::bad_request, "give a larger picture", "a picture of {} x {} cannot be quartered",
           image.width, image.height);
  }
  views.push_back(image);
  for (Image& view : views) {
    double aspect = static_cast<double>(view.width) / static_cast<double>(view.height);
    int64_t height = view.height, width = view.width;
    if (width >= height && width > longest_edge) {
      width = longest_edge;
      height = static_cast<int64_t>(static_cast<double>(width) / aspect);
    } else if (height > width && height > longest_edge) {
      height = longest_edge;
      width = static_cast<int64_t>(static_cast<double>(height) * aspect);
    }
    view =
        resize_pillow(view, std::max(height, shortest_edge), std::max(width, shortest_edge), values.resample);
  }
  return views;
}

Idefics2::Idefics2(const Checkpoint& checkpoint, const Weights& w)
    : SplicedGenerator(idefics_text(checkpoint.config), w, checkpoint,
                       {kImageMark, "", idefics_image_token(checkpoint, kPublishedImageToken)}, kTemplate),
      vision_(idefics_vision(checkpoint.config), w / "model.vision_model") {
  const DecoderConfig& config = text().config();
  Weights connector = w / "model.connector", projection = connector / "modality_projection";
  int64_t vision_width = vision_.config().encoder.hidden_size, inner = config.intermediate_size;
  gate_ = nn::Linear(projection / "gate_proj", vision_width, inner, nn::Bias::none);
  up_ = nn::Linear(projection / "up_proj", vision_width, inner, nn::Bias::none);
  down_ = nn::Linear(projection / "down_proj", inner, config.hidden_size, nn::Bias::none);
  act_ = config.act;
  PerceiverConfig perceiver = perceiver_config(checkpoint.config.find("perceiver_config"), config);
  perceiver_ = Perceiver(perceiver, kLlamaPerceiver, connector / "perceiver_resampler");
  num_latents_ = perceiver.num_latents;
  if (!checkpoint.preprocessor.is_null()) processor_ = Idefics2Processor::from(checkpoint.preprocessor);
}

MediaInput Idefics2::prepare_image(const Image& image, const Request&) const {
  std::vector<Image> views = needed(processor_).views(image);
  int64_t height = 0, width = 0, count = static_cast<int64_t>(views.size());
  for (const Image& view : views) height = std::max(height, view.height), width = std::max(width, view.width);
  MediaInput media;
  media.rows = count * num_latents_;
  media.pixel_values = at::zeros({count, 3, height, width});
  Tensor& mask_NHW = media.extra[kPixelMask] = at::zeros({count, height, width}, at::kBool);
  for (int64_t idx = 0; idx < count; ++idx) {
    const Image& view = views[static_cast<size_t>(idx)];
    auto corner = [&](const Tensor& whole) {
      return whole[idx].narrow(-2, 0, view.height).narrow(-1, 0, view.width);
    };
    corner(media.pixel_values).copy_(processor_->values.pixel_values(view));
    corner(mask_NHW).fill_(true);
  }
  return media;
}

void Idefics2::arrange_media(std::vector<MediaInput>& media) const {
  int64_t height = 0, width = 0;
  for (const MediaInput& input : media)
    height = std::max(height, input.pixel_values.size(2)),
    width = std::max(width, input.pixel_values.size(3));
  auto grow = [&](Tensor& tensor) {
    tensor = at::constant_pad_nd(tensor, {0, width - tensor.size(-1), 0, height - tensor.size(-2)});
  };
  for (MediaInput& input : media) grow(input.pixel_values), grow(input.extra.at(kPixelMask));
}

std::string Idefics2::expand_text(std::string text, const std::vector<MediaInput>& media) const {
  std::string fake = kFakeToken, view = fake + repeat(kImageMark, num_latents_) + fake;
  text = replace_marks(text, media,
                       [&](const MediaInput& input) { return repeat(view, input.pixel_values.size(0)); });
  return replace_all(std::move(text), fake + fake, fake);
}

Tensor Idefics2::encode(const MediaInput& media) const {
  int64_t side = vision_.config().patch_size;
  Tensor is_real_Nhw =
      media.extra.at(kPixelMask).unfold(1, side, side).unfold(2, side, side).flatten(3).all(3);
  Tensor x_NPV = vision_(media.pixel_values, is_real_Nhw);
  Tensor x_NPD = trace::point("hidden/modality_projection", down_(nn::apply_gated(x_NPV, gate_, up_, act_)));
  return perceiver_(x_NPD, is_real_Nhw.flatten(1)).flatten(0, 1);
}

System idefics2() {
  return {.slug = "idefics2",
          .accepts =
              [](const Checkpoint& c) {
                return c.has_architecture("Idefics2ForConditionalGeneration") && !is_mantis(c);
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<Idefics2>(c, w);
          }};
}

}  // namespace vlm::interleaved
