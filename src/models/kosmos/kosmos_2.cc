// KOSMOS-2 [kosmos-2]: CLIP ViT-L/14-224 -> 64 latent queries -> a MAGNETO language model that writes places
// as words. Paper: arXiv:2306.14824.  Reference: transformers Kosmos2ForConditionalGeneration. Checkpoints:
// microsoft/kosmos-2-patch14-224.
//
//   pixels_N3HW --ClipVision, post-norm of every token--> features_NSV --unit length, dense--> NSD
//   [features; queries]_(S+Q) <--queries_QD attend-- --> image_NQD
//   ids_T --embed--> x_TD --splice at the picture's places--> * sqrt(D) + sinusoids --MAGNETO--> logits_TK
//
// N = 1 picture, S = 257, V = 1024, Q = 64 queries, D = 2048, K = 65037.
// Unusual: the picture's places hold ordinary words (ids 4 to 67), so that only their position tells them
// from text; image rows are scaled like embeddings; the answer's notation is read together with the prompt.
#include <nlohmann/json.hpp>

#include <cmath>

#include "models/common/media.h"
#include "models/common/prompt_and_target.h"
#include "models/common/spliced.h"
#include "models/kosmos/notation.h"
#include "models/kosmos/systems.h"
#include "parts/encoders/vit.h"
#include "parts/processors/image_processor.h"
#include "system/answer_stream.h"
#include "system/chat.h"

namespace vlm::kosmos {

namespace {

constexpr char kImage[] = "<image>", kImageEnd[] = "</image>";
constexpr int64_t kPlace = -1;  // stands for a row of the picture while rows are spliced

// One question is given verbatim, as the published examples are; more turns take the form of the instruction
// data.
constexpr char kTemplate[] =
    "{% for message in messages %}{% if message.role == 'assistant' %} {{ message.content[0].text }} "
    "{% else %}{% if messages|length > 1 %}Question: {% endif %}"
    "{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}"
    "{% if messages|length > 1 %} Answer:{% endif %}{% endif %}{% endfor %}";

struct Config {
  VitConfig vision;
  DecoderConfig text;
  int64_t num_queries = 64;  // latent_query_num

  explicit Config(const Json& json) {
    nlohmann::json sizes{{"hidden_size", 1024},
                         {"intermediate_size", 4096},
                         {"num_hidden_layers", 24},
                         {"num_attention_heads", 16},
                         {"patch_size", 14}};  // what the reference's class takes for absent keys
    sizes.merge_patch(json.at("vision_config").raw());
    vision = VitConfig::clip(Json::wrap(sizes, "config.json: vision_config"));
    text = DecoderConfig::from(json.at("text_config"));
    num_queries = json.integer("latent_query_num", 1, 1 << 12, 64);
  }
};

class Kosmos2 final : public SplicedGenerator, public AnswerReader, public AnswerStreamer {
 public:
  Kosmos2(Config config, const Checkpoint& checkpoint, const Weights& w)
      : SplicedGenerator(config.text, w / "text_model", checkpoint, {"", "", kPlace}, kTemplate),
        config_(std::move(config)),
        vision_(config_.vision, w / "vision_model.model") {
    Weights connector = w / "image_to_text_projection", attention = connector / "x_attn";
    int64_t width = config_.text.hidden_size;
    dense_ = nn::Linear(connector / "dense", config_.vision.encoder.hidden_size, width, nn::Bias::yes);
    queries_QD_ = connector.take("latent_query", {config_.num_queries, width});
    q_ = nn::Linear(attention / "q_proj", width, width, nn::Bias::yes);
    k_ = nn::Linear(attention / "k_proj", width, width, nn::Bias::yes);
    v_ = nn::Linear(attention / "v_proj", width, width, nn::Bias::yes);
    out_ = nn::Linear(attention / "out_proj", width, width, nn::Bias::yes);
    if (!checkpoint.preprocessor.is_null()) processor_ = ImageProcessor::from(checkpoint.preprocessor);
  }

  Prompt prepare(const Request& request) const override {
    return SplicedGenerator::prepare(as_text(request));
  }

  Prompt prepare_example(const Request& request) const override {
    Prompt prompt = SplicedGenerator::prepare_example(as_text(prompt_and_target(request)));
    prompt.ids.push_back(eos_ids().front());
    prompt.labels.push_back(eos_ids().front());
    return prompt;
  }

  Tensor encode(const MediaInput& media) const override {
    Tensor features_NSV = vision_.last_hidden_state(media.pixel_values);
    Tensor length_NS1 = features_NSV.square().sum(-1, /*keepdim=*/true).sqrt().clamp_min(1e-12);
    Tensor features_NSD = dense_(features_NSV / length_NS1);
    Tensor queries_NQD = queries_QD_.unsqueeze(0).expand({features_NSD.size(0), -1, -1});
    Tensor seen = at::cat({features_NSD, queries_NQD}, 1);
    int64_t heads = config_.text.num_attention_heads, head_width = config_.text.head_dim;
    auto split = [&](const Tensor& t) { return t.reshape({t.size(0), t.size(1), heads, head_width}); };
    ops::AttentionArgs args;
    args.scale = 1.0 / std::sqrt(static_cast<double>(head_width));
    args.may_round = out_.is_rounded();
    Tensor mixed = ops::attention(split(q_(queries_NQD)), split(k_(seen)), split(v_(seen)), args);
    return out_(mixed.flatten(2)).flatten(0, 1);
  }

  std::string readable_text(const Tokenizer& tokenizer, std::span<const int64_t> ids,
                            const Request& request) const override {
    std::vector<int64_t> all = tokenise(text_of(request));
    all.insert(all.end(), ids.begin(), ids.end());
    return tokenizer.decode(all, /*skip_special_tokens=*/true);  // the tags are not special
  }

  ParsedAnswer read_answer(const std::string& text, const Request& request) const override {
    if (request.images.empty()) return read_notation(text, 1, 1);
    return read_notation(text, request.images.front().height, request.images.front().width);
  }

  std::string settled_text(const std::string& text, const Request&) const override {
    return kosmos::settled_text(text);
  }

  PartNames part_names() const override { return {"vision_model*", "image_to_text_projection*", "*"}; }

 private:
  // The chat as one prompt, with the places of the request's boxes written into it.
  std::string text_of(const Request& request) const {
    const std::vector<Image>& images = request.images;
    if (images.size() > 1)
      fail(ErrorKind::bad_request, "give one picture", "KOSMOS-2 reads one picture, {} were given",
           images.size());
    if (!request.regions.boxes_xyxy.empty() && images.empty())
      fail(ErrorKind::bad_request, "give the picture that they lie in", "boxes without a picture");
    std::string text = render_prompt(request, chat_template(), tokenizer().info);
    constexpr char kBlanks[] = " \t\n\r\v\f";
    text.erase(0, text.find_first_not_of(kBlanks));
    text.erase(text.find_last_not_of(kBlanks) + 1);
    if (!request.task_prompt.empty()) text = request.task_prompt + " " + text;
    if (images.empty()) return text;
    return insert_boxes(text, request.regions.boxes_xyxy, images[0].height, images[0].width);
  }

  Request as_text(Request request) const {
    request.prompt = text_of(request);
    request.messages.clear();
    return request;
  }

  MediaInput prepare_image(const Image& image, const Request&) const override {
    return single_view(image, processor_, config_.num_queries);
  }

  std::string expand_text(std::string text, const std::vector<MediaInput>& media) const override {
    return media.empty() ? text : std::string(kImage) + kImageEnd + " " + text;
  }

  std::vector<int64_t> tokenise(const std::string& text) const override {
    std::vector<int64_t> ids = tokenizer().tokenizer->ids(text, /*add_special_tokens=*/false);
    ids.insert(ids.begin(), tokenizer().info.bos_id.value_or(0));
    return ids;
  }

  // <s> <image> first id behind <unk>, the next, ... </image> text
  void expand_ids(Prompt& prompt) const override {
    if (prompt.media.empty()) return;
    MediaInput& media = prompt.media.front();
    media.begin = 2;
    std::vector<int64_t> places(static_cast<size_t>(media.rows));
    for (size_t idx = 0; idx < places.size(); ++idx)
      places[idx] = tokenizer().info.unk_id.value_or(3) + 1 + static_cast<int64_t>(idx);
    prompt.ids.insert(prompt.ids.begin() + media.begin, places.begin(), places.end());
    if (!prompt.labels.empty())
      prompt.labels.insert(prompt.labels.begin() + media.begin, places.size(), kIgnore);
  }

  std::vector<int64_t> spliced_ids(const Prompt& prompt) const override {
    std::vector<int64_t> ids = prompt.ids;
    for (const MediaInput& media : prompt.media) std::fill_n(ids.begin() + media.begin, media.rows, kPlace);
    return ids;
  }

  Config config_;
  Vit vision_;
  nn::Linear dense_, q_, k_, v_, out_;
  Tensor queries_QD_;
  std::optional<ImageProcessor> processor_;
};

}  // namespace

System kosmos_2() {
  return {
      .slug = "kosmos-2",
      .accepts = [](const Checkpoint& c) { return c.has_architecture("Kosmos2ForConditionalGeneration"); },
      .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
        return std::make_unique<Kosmos2>(Config(c.config), c, w);
      }};
}

}  // namespace vlm::kosmos
