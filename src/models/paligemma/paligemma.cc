// PaliGemma [paligemma]: SigLIP So400m/14 -> one matrix -> Gemma 2B with a prefix that sees itself whole.
// Paper: arXiv:2407.07726.  Reference: transformers PaliGemmaForConditionalGeneration;
// google-research/big_vision for places and masks. Checkpoints:
// google/paligemma-3b-{pt,mix,ft-*}-{224,448,896}.
//
//   pixels_N3HW --SigLIP, post-norm--> patches_NPV --linear--> image_NPD
//   [<image> x P; <bos>; text; newline]_T --embed * sqrt(D)--> x_TD --splice--> --Gemma--> logits_TK
//
// P = 256, 1024 or 4096, V = 1152, D = 2048, K = 257216.
// Unusual: every position of the prompt sees all of the prompt, only the answer is causal; <bos> stands
// behind the picture; picture rows are not scaled like embeddings. Positions start at 1 in the reference,
// which rotary attention does not notice.
#include <cmath>
#include <cstdlib>

#include "base/log.h"
#include "models/common/media.h"
#include "models/common/prompt_and_target.h"
#include "models/common/spliced.h"
#include "models/paligemma/mask_decoder.h"
#include "models/paligemma/notation.h"
#include "models/paligemma/systems.h"
#include "parts/encoders/vit.h"
#include "parts/processors/image_processor.h"
#include "system/answer_stream.h"

namespace vlm::paligemma {

namespace {

constexpr char kImage[] = "<image>";
// One question at a time; the last turn is the prompt.
constexpr char kTemplate[] =
    "{% for part in messages[-1].content if part.type == 'text' %}{{ part.text }}{% endfor %}";

struct Config {
  VitConfig vision;
  DecoderConfig text;
  int64_t image_token = 257152;  // image_token_index

  explicit Config(const Json& json)
      : vision(VitConfig::tower(json.at("vision_config"))),
        text(DecoderConfig::from(json.at("text_config"))),
        image_token(json.get<int64_t>("image_token_index", json.get<int64_t>("image_token_id", 257152))) {
    json.ignore({"hidden_size", "ignore_index", "projection_dim", "vocab_size", "pad_token_id"});
  }
};

// Beside the weights, or where VLM_PALIGEMMA_MASKS says.
std::shared_ptr<const MaskDecoder> find_mask_decoder(const std::filesystem::path& folder) {
  if (const char* given = std::getenv("VLM_PALIGEMMA_MASKS"); given && *given)
    return std::make_shared<MaskDecoder>(given);
  if (folder.empty() || !std::filesystem::exists(folder / MaskDecoder::kFile)) return nullptr;
  return std::make_shared<MaskDecoder>(folder / MaskDecoder::kFile);
}

class Paligemma final : public SplicedGenerator, public AnswerReader, public AnswerStreamer {
 public:
  Paligemma(Config config, const Checkpoint& checkpoint, const Weights& w)
      : SplicedGenerator(config.text, w / "language_model", checkpoint, {"", "", config.image_token},
                         kTemplate),
        config_(std::move(config)),
        vision_(config_.vision, w / "vision_tower.vision_model"),
        linear_(w / "multi_modal_projector.linear", config_.vision.encoder.hidden_size,
                config_.text.hidden_size, nn::Bias::yes),
        masks_(find_mask_decoder(checkpoint.folder)) {
    if (!checkpoint.preprocessor.is_null()) processor_ = ImageProcessor::from(checkpoint.preprocessor);
  }

  Prompt prepare(const Request& request) const override {
    Prompt prompt = SplicedGenerator::prepare(with_task(request));
    prompt.prefix = static_cast<int64_t>(prompt.ids.size());
    return prompt;
  }

  Prompt prepare_example(const Request& request) const override {
    Prompt prompt = SplicedGenerator::prepare_example(with_task(prompt_and_target(request)));
    auto counts = [](int64_t label) { return label != kIgnore; };
    prompt.prefix = std::find_if(prompt.labels.begin(), prompt.labels.end(), counts) - prompt.labels.begin();
    return prompt;
  }

  Tensor encode(const MediaInput& media) const override {
    return linear_(vision_.last_hidden_state(media.pixel_values)).flatten(0, 1);
  }

  ParsedAnswer read_answer(const std::string& text, const Request& request) const override {
    if (request.images.empty()) return {text, {}, {}};
    const Image& image = request.images.front();
    Notes notes = read_notation(text, image.height, image.width);
    ParsedAnswer answer{std::move(notes.text), {}, {}};
    for (Object& object : notes.objects) {
      if (!object.codes.empty() && masks_) object.region.mask = draw(object, image);
      if (!object.codes.empty() && !masks_)
        log(LogLevel::warn,
            "the mask of \"{}\" stays undrawn: {} of big_vision's PaliGemma is not beside the checkpoint",
            object.region.label, MaskDecoder::kFile);
      answer.regions.push_back(std::move(object.region));
    }
    return answer;
  }

  std::string settled_text(const std::string& text, const Request& request) const override {
    return request.images.empty() ? text : paligemma::settled_text(text);
  }

  PartNames part_names() const override { return {"vision_tower*", "multi_modal_projector*", "*"}; }

 private:
  Request with_task(Request request) const {
    if (!request.regions.boxes_xyxy.empty() || !request.regions.points.empty() ||
        !request.regions.masks.empty())
      fail(ErrorKind::bad_request, "name what is meant: \"detect cat\", \"segment cat\"",
           "PaliGemma takes no boxes, points or masks");
    if (request.task_prompt.empty()) return request;
    std::string text =
        request.messages.empty() ? request.prompt : render_prompt(request, chat_template(), tokenizer().info);
    request.prompt = request.task_prompt + (text.empty() ? "" : " " + text);
    request.messages.clear();
    request.task_prompt.clear();
    return request;
  }

  MediaInput prepare_image(const Image& image, const Request&) const override {
    return single_view(image, processor_, config_.vision.num_tokens());
  }

  // Pictures stand in front wherever the text has them.
  std::string expand_text(std::string text, const std::vector<MediaInput>& media) const override {
    for (size_t at = text.find(kImage); at != std::string::npos; at = text.find(kImage, at))
      text.erase(at, sizeof kImage - 1);
    std::string images;
    for (const MediaInput& each : media)
      for (int64_t row = 0; row < each.rows; ++row) images += kImage;
    return images + tokenizer().info.bos_token + text + "\n";
  }

  std::vector<int64_t> tokenise(const std::string& text) const override {
    return tokenizer().tokenizer->ids(text, /*add_special_tokens=*/false);
  }

  std::optional<std::vector<int64_t>> target_ids(const std::string& target,
                                                 const std::vector<MediaInput>&) const override {
    std::vector<int64_t> ids = tokenizer().tokenizer->ids(target, /*add_special_tokens=*/false);
    ids.push_back(eos_ids().front());
    return ids;
  }

  void expand_ids(Prompt& prompt) const override { find_placeholders(prompt, args().placeholders); }

  // The decoder's 64 x 64 stretched over the box. Ref: big_vision
  // evaluators/proj/paligemma/transfers/segmentation.py
  std::vector<uint8_t> draw(const Object& object, const Image& image) const {
    for (int64_t code : object.codes)
      if (code >= masks_->num_codes()) return {};
    std::vector<uint8_t> mask(static_cast<size_t>(image.height * image.width), 0);
    auto edge = [](double place, int64_t limit) {
      return std::clamp<int64_t>(static_cast<int64_t>(std::nearbyint(place)), 0, limit);
    };
    const auto& box = *object.region.box_xyxy;
    int64_t left = edge(box[0], image.width), top = edge(box[1], image.height),
            right = edge(box[2], image.width), bottom = edge(box[3], image.height);
    if (right <= left || bottom <= top) return mask;
    FloatImage small{1, MaskDecoder::kSide, MaskDecoder::kSide, to_floats((*masks_)(object.codes))};
    FloatImage large = resize_torch(small, bottom - top, right - left, Filter::bilinear, /*antialias=*/true);
    for (int64_t y = top; y < bottom; ++y)
      for (int64_t x = left; x < right; ++x)
        if (large.values[static_cast<size_t>((y - top) * (right - left) + x - left)] > 0)
          mask[static_cast<size_t>(y * image.width + x)] = 255;
    return mask;
  }

  Config config_;
  Vit vision_;
  nn::Linear linear_;
  std::shared_ptr<const MaskDecoder> masks_;
  std::optional<ImageProcessor> processor_;
};

// transformers 4.52 and later, with the head stored and without
std::vector<std::vector<Rename>> layouts() {
  std::vector<Rename> inner{{"language_model.model.", "model.language_model."},
                            {"vision_tower.", "model.vision_tower."},
                            {"multi_modal_projector.", "model.multi_modal_projector."}};
  std::vector<Rename> with_head = inner;
  with_head.push_back({"language_model.lm_head.", "lm_head."});
  return {with_head, inner};
}

}  // namespace

System paligemma() {
  return {
      .slug = "paligemma",
      .accepts = [](const Checkpoint& c) { return c.has_architecture("PaliGemmaForConditionalGeneration"); },
      .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
        return std::make_unique<Paligemma>(Config(c.config), c, w);
      },
      .layouts = layouts()};
}

}  // namespace vlm::paligemma
