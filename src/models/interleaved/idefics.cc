// IDEFICS [idefics]: CLIP ViT-H and a perceiver, read by gated cross-attention between the layers of LLaMA.
// Paper: arXiv:2306.16527.  Reference: transformers IdeficsForVisionText2Text.
// Checkpoints: HuggingFaceM4/idefics-{9b,80b}, HuggingFaceM4/idefics-{9b,80b}-instruct.
//
//   pixels_N3HW --Vit, without the last norm--> NSV --Perceiver--> features_NQV
//   ids_T --two tables--> x_TD --[gated cross-attention before every 4th layer], LLaMA--> logits_TK
//
// N pictures, S = 257, Q = 64, V = 1280, D = 4096 or 8192, K = 32000 and 2 (instruct: 3) added tokens.
// Unusual: a picture is one <image> token, nothing is spliced; a token sees only the last picture before it,
// and none at all when none stands there or behind </s>; added tokens have tables of their own; the image
// tokens are forbidden in answers.
#include "models/common/spliced.h"
#include "models/interleaved/idefics_family.h"
#include "models/interleaved/systems.h"
#include "parts/connectors/perceiver.h"
#include "parts/encoders/vit.h"
#include "parts/fusion/gated_cross_attention.h"

#include <nlohmann/json.hpp>

namespace vlm::interleaved {

namespace {

constexpr char kEndOfUtterance[] = "<end_of_utterance>";
// In Sequence::extra: the last picture seen, and keys and values of block i.
constexpr char kSeen[] = "seen_image", kKeys[] = "cross_keys_{}", kValues[] = "cross_values_{}";

// Pictures next to each other share the fake token between them.
#define VLM_IDEFICS_TURNS(end)                                                                     \
  "{% for message in messages %}{{ message.role.capitalize() }}:{% for part in message.content %}" \
  "{% if part.type == 'image' %}{% if loop.first or loop.previtem.type != 'image' %}"              \
  "<fake_token_around_image>{% endif %}<image><fake_token_around_image>"                           \
  "{% elif part.type == 'text' %}{% if loop.first %} {% endif %}{{ part.text | trim }}{% endif %}" \
  "{% endfor %}" end "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
constexpr char kTemplate[] = VLM_IDEFICS_TURNS("");
constexpr char kInstructTemplate[] = VLM_IDEFICS_TURNS("<end_of_utterance>");
#undef VLM_IDEFICS_TURNS

DecoderConfig text_config(const Json& json) {
  nlohmann::json text = json.raw();
  text["model_type"] = "llama";
  DecoderConfig config = DecoderConfig::from(Json::wrap(std::move(text), "config.json"));
  config.additional_vocab_size = json.integer("additional_vocab_size", 0, 1 << 20, 0);
  return config;
}

VitConfig vision_config(const Json& json) {
  nlohmann::json vision = json.raw();
  if (vision.contains("embed_dim")) vision["hidden_size"] = vision["embed_dim"];
  if (!vision.contains("hidden_act")) vision["hidden_act"] = "gelu";
  return VitConfig::clip(Json::wrap(std::move(vision), json.path()));
}

PerceiverConfig perceiver_config(const Json& json, int64_t width) {
  PerceiverConfig config;
  config.width = width;
  config.inner = 4 * width;
  config.depth = json.integer("resampler_depth", 1, 256, 6);
  config.num_latents = json.integer("resampler_n_latents", 1, 1 << 14, 64);
  config.num_heads = config.num_groups = json.integer("resampler_n_heads", 1, 1024, 16);
  config.head_dim = json.integer("resampler_head_dim", 1, 1 << 14, 96);
  config.has_qk_norm = json.get("qk_layer_norms_perceiver", false);
  config.act = Act::relu;
  return config;
}

using Span = GatedCrossAttention::Span;
using Memory = GatedCrossAttention::Memory;

class Idefics final : public Model, public Generator, public LanguageTrainable {
 public:
  Idefics(const Checkpoint& checkpoint, const Weights& w)
      : text_(text_config(checkpoint.config), w),
        vision_config_(vision_config(checkpoint.config.at("vision_config"))),
        vision_(vision_config_, w / "model.vision_model"),
        interval_(checkpoint.config.integer("cross_layer_interval", 1, 1024, 1)),
        tokenizer_(checkpoint.tokenizer),
        chat_template_(checkpoint.chat_template),
        eos_ids_(checkpoint.eos_ids()) {
    const Json& json = checkpoint.config;
    const DecoderConfig& text = text_.config();
    int64_t width = vision_config_.encoder.hidden_size;
    rows_per_image_ = vision_config_.num_tokens();
    if (json.get("use_resampler", false)) {
      PerceiverConfig config = perceiver_config(json.find("perceiver_config"), width);
      perceiver_ = Perceiver(config, kFlamingoPerceiver, w / "model.perceiver_resampler");
      rows_per_image_ = config.num_latents;
    }
    if (text.hidden_size % text.num_attention_heads != 0)
      fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
           "config.json: hidden_size {} does not divide into {} heads", text.hidden_size,
           text.num_attention_heads);
    std::string gate = json.get("alpha_type", "float");
    if (gate != "float" && gate != "vector")
      fail(ErrorKind::unsupported, "known: float, vector", "config.json: alpha_type = \"{}\"", gate);
    GatedCrossAttentionConfig block{.width = text.hidden_size,
                                    .feature_width = width,
                                    .inner = text.intermediate_size,
                                    .num_heads = text.num_attention_heads,
                                    .eps = text.norm_eps,
                                    .act = text.act,
                                    .has_qk_norm = json.get("qk_layer_norms", false),
                                    .has_vector_gate = gate == "vector"};
    for (int64_t idx = 0; idx * interval_ < text.num_hidden_layers; ++idx)
      blocks_.emplace_back(block, w / "model.gated_cross_attn_layers" / idx);
    json.ignore_all();
    set_up_tokens();
    if (!checkpoint.preprocessor.is_null()) read_preprocessor(checkpoint.preprocessor);
  }

  Prompt prepare(const Request& request) const override {
    Prompt prompt;
    prompt.text = render_prompt(request, *chat_template_, tokenizer_.info);
    prompt.ids = tokenizer_.tokenizer->ids(prompt.text);
    add_media(prompt, request);
    return prompt;
  }

  Tensor encode(const MediaInput& media) const override {
    return encode_pixels(media.pixel_values).flatten(0, 1);
  }

  Tensor prefill(const Prompt& prompt, const std::vector<Tensor>& features, Sequence& sequence,
                 bool all_rows) const override {
    int64_t begin = sequence.cache.length();
    std::vector<Memory> memories;
    sequence.extra.clear();
    if (!features.empty()) memories = remember(at::stack(features));
    for (size_t idx = 0; idx < memories.size(); ++idx) {
      sequence.extra[fmt::format(kKeys, idx)] = memories[idx].k_NSAE;
      sequence.extra[fmt::format(kValues, idx)] = memories[idx].v_NSAE;
    }
    std::vector<int64_t> seen = seen_images(prompt.ids);
    sequence.extra[kSeen] = at::full({1}, seen.back(), at::kLong);
    Tensor ids = ids_tensor({prompt.ids.begin() + begin, prompt.ids.end()});
    std::vector<Sight> sights{{{seen.begin() + begin, seen.end()}, &memories}};
    Tensor x_TD = forward(ids, nn::Packed::single(ids.size(0), &sequence.cache), sights);
    return text_.logits(all_rows ? x_TD : x_TD.slice(0, -1));
  }

  Tensor extend(const std::vector<Continuation>& batch) const override {
    auto [ids, packed] = pack(batch);
    std::vector<std::vector<Memory>> memories(batch.size());
    std::vector<Sight> sights;
    for (size_t at = 0; at < batch.size(); ++at) {
      const auto& extra = batch[at].sequence->extra;
      int64_t seen = extra.at(kSeen).item<int64_t>();
      for (size_t idx = 0; seen >= 0 && idx < blocks_.size(); ++idx)
        memories[at].push_back({extra.at(fmt::format(kKeys, idx)), extra.at(fmt::format(kValues, idx))});
      sights.push_back({std::vector<int64_t>(batch[at].ids.size(), seen), &memories[at]});
    }
    return text_.logits(forward(ids, packed, sights));
  }

  int64_t max_positions() const override { return text_.config().max_position_embeddings; }
  std::vector<int64_t> eos_ids() const override { return eos_ids_; }
  GenerationRules rules() const override {
    GenerationRules rules;
    rules.suppress_tokens = {fake_token_, image_token_};
    return rules;
  }

  Prompt prepare_example(const Request& request) const override {
    auto tokens_of = [&](const std::string& text) { return tokenizer_.tokenizer->ids(text); };
    Prompt prompt;
    if (request.target) {
      prompt = label_target(request, *chat_template_, tokenizer_.info, tokens_of);
      if (tokenizer_.info.eos_id && prompt.ids.back() != *tokenizer_.info.eos_id) {
        prompt.ids.push_back(*tokenizer_.info.eos_id);
        prompt.labels.push_back(*tokenizer_.info.eos_id);
      }
    } else {
      LabelledChat chat = label_chat(request, *chat_template_, tokenizer_.info, tokens_of);
      prompt.text = std::move(chat.text), prompt.ids = std::move(chat.ids),
      prompt.labels = std::move(chat.labels);
    }
    add_media(prompt, request);
    return prompt;
  }

  Losses loss(const std::vector<Prompt>& examples, bool all_logits) const override {
    ExampleBatch batch = pack_examples(examples);
    std::vector<Tensor> pixels;
    for (const MediaInput* media : batch.media) pixels.push_back(media->pixel_values);
    std::vector<Memory> memories;
    if (!pixels.empty()) memories = remember(encode_pixels(at::cat(pixels)));
    std::vector<Sight> sights;
    int64_t first = 0;  // picture of the example among all
    for (const Prompt& example : examples) {
      Sight sight{seen_images(example.ids), &memories};
      for (int64_t& image : sight.images)
        if (image >= 0) image += first;
      first += static_cast<int64_t>(example.media.size());
      sights.push_back(std::move(sight));
    }
    Tensor hidden_TD = forward(batch.ids, batch.packed, sights);
    return next_token_loss(hidden_TD, batch, all_logits,
                           [&](const Tensor& rows) { return text_.logits(rows); });
  }

  PartNames part_names() const override { return {"*vision_model*", "*perceiver_resampler*", "*"}; }

 private:
  // What the tokens of one sequence see: a picture for each, of the memories of every block.
  struct Sight {
    std::vector<int64_t> images;
    const std::vector<Memory>* memories;
  };

  void set_up_tokens() {
    fake_token_ = text_.config().vocab_size, image_token_ = fake_token_ + 1;
    std::optional<int64_t> end;
    if (tokenizer_.tokenizer) {
      fake_token_ = tokenizer_.tokenizer->token_to_id(kFakeToken).value_or(fake_token_);
      image_token_ = tokenizer_.tokenizer->token_to_id(kImageMark).value_or(image_token_);
      end = tokenizer_.tokenizer->token_to_id(kEndOfUtterance);
    }
    if (end) eos_ids_.push_back(*end);
    if (!chat_template_) chat_template_ = ChatTemplate::compile(end ? kInstructTemplate : kTemplate);
  }

  void read_preprocessor(const Json& json) {
    ImageProcessor processor;
    int64_t side = json.integer("image_size", 1, 1 << 14, vision_config_.image_size);
    processor.size = {side, side};
    processor.image_mean = {0.48145466, 0.4578275, 0.40821073};
    processor.image_std = {0.26862954, 0.26130258, 0.27577711};
    processor.read_values(json);
    processor_ = processor;
  }

  void add_media(Prompt& prompt, const Request& request) const {
    if (!request.videos.empty())
      fail(ErrorKind::unsupported, "give pictures of its frames", "this system does not take videos");
    check_image_count(prompt.text, kImageMark, request.images.size());
    size_t at = 0;
    for (const Image& image : request.images) {
      MediaInput media;
      media.pixel_values = needed(processor_)(image).unsqueeze(0);
      media.rows = rows_per_image_;
      while (at < prompt.ids.size() && prompt.ids[at] != image_token_) ++at;
      if (at == prompt.ids.size())
        fail(ErrorKind::bad_request, "the tokenizer's files may belong to another model",
             "the prompt has no image token for picture {}", prompt.media.size() + 1);
      media.begin = static_cast<int64_t>(at++);
      set_key(media);
      prompt.media.push_back(std::move(media));
    }
  }

  // The picture that each token sees, -1: none.
  std::vector<int64_t> seen_images(const std::vector<int64_t>& ids) const {
    std::vector<int64_t> seen;
    int64_t count = 0;
    bool is_behind_end = false;
    for (int64_t id : ids) {
      if (id == image_token_) ++count, is_behind_end = false;
      seen.push_back(is_behind_end ? -1 : count - 1);
      is_behind_end |= tokenizer_.info.eos_id && id == *tokenizer_.info.eos_id;
    }
    return seen;
  }

  Tensor encode_pixels(const Tensor& pixels_N3HW) const {
    Tensor x_NSV = vision_.hidden_state(pixels_N3HW, -1);
    return perceiver_ ? (*perceiver_)(x_NSV) : x_NSV;
  }

  std::vector<Memory> remember(const Tensor& features_NSV) const {
    std::vector<Memory> memories;
    for (const GatedCrossAttention& block : blocks_) memories.push_back(block.remember(features_NSV));
    return memories;
  }

  Tensor forward(const Tensor& ids, const nn::Packed& packed, const std::vector<Sight>& sights) const {
    auto read_pictures = [&](int64_t layer, const Tensor& x_TD) {
      if (layer % interval_ != 0) return x_TD;
      size_t block = static_cast<size_t>(layer / interval_);
      std::vector<Span> spans;
      for (const Sight& sight : sights) {
        bool is_first = true;
        for (int64_t image : sight.images) {
          if (is_first || spans.back().image != image)
            spans.push_back({0, image < 0 ? nullptr : &sight.memories->at(block), image});
          ++spans.back().count;
          is_first = false;
        }
      }
      return blocks_[block](x_TD, spans);
    };
    return text_.forward(text_.embed(ids), packed, read_pictures);
  }

  CausalDecoder text_;
  VitConfig vision_config_;
  Vit vision_;
  std::optional<Perceiver> perceiver_;
  int64_t interval_;
  std::vector<GatedCrossAttention> blocks_;
  LoadedTokenizer tokenizer_;
  std::shared_ptr<const ChatTemplate> chat_template_;
  std::vector<int64_t> eos_ids_;
  int64_t rows_per_image_ = 0, fake_token_ = 0, image_token_ = 0;
  std::optional<ImageProcessor> processor_;
};

}  // namespace

System idefics() {
  return {.slug = "idefics",
          .accepts = [](const Checkpoint& c) { return c.has_architecture("IdeficsForVisionText2Text"); },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<Idefics>(c, w);
          }};
}

}  // namespace vlm::interleaved
