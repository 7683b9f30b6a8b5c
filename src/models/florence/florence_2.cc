// Florence-2 [florence-2]: DaViT -> one matrix and a norm -> BART, which writes captions and places as text.
// Paper: arXiv:2311.06242.  Reference: the authors' modeling_florence2.py, which is published beside the
// weights. Checkpoints: microsoft/Florence-2-{base,large}, microsoft/Florence-2-{base,large}-ft.
//
//   pixels_N3HW --DaViT--> map_NChw --+ learnt row and column, + time--> [mean; places]_NPC --x matrix,
//   norm--> image_NPD [image_PD; ids_S --embed-->] --BART encoder--> states_(P+S)D --BART decoder-->
//   logits_TK
//
// N = 1 picture of 768 x 768, h = w = 24, P = 577, C = 1024 or 2048, D = 768 or 1024, K = 51289.
// Unusual: the picture's rows stand in front of the question, in no placeholder's place; the tokens of places
// are in no file of the tokenizer; tasks are asked in fixed sentences; a beam's text may hold no three tokens
// twice.
#include "models/common/cross_memory.h"
#include "models/common/decoder_targets.h"
#include "models/common/prompt_and_target.h"
#include "models/florence/notation.h"
#include "models/florence/systems.h"
#include "parts/decoders/bart.h"
#include "parts/encoders/davit.h"
#include "parts/processors/image_processor.h"
#include "parts/processors/needed.h"
#include "system/answer_stream.h"
#include "system/chat.h"
#include "system/training.h"

namespace vlm::florence {

namespace {

// There is one turn; what was said before is not part of the prompt.
constexpr char kTemplate[] =
    "{% for part in messages[-1].content if part.type == 'text' %}{{ part.text }}{% endfor %}";

struct Config {
  DavitConfig vision;
  BartConfig text;
  int64_t width = 768;                // projection_dim, of what the language model reads
  int64_t max_side = 50;              // rows and columns of the tables of positions
  std::vector<std::string> features;  // image_feature_source
  GenerationRules rules;

  explicit Config(const Json& json) {
    Json tower = json.at("vision_config"), language = json.at("text_config");
    vision = DavitConfig::from(tower);
    text = BartConfig::from(language);
    width = tower.integer("projection_dim", 1, 1 << 16, text.d_model);
    Json positions = tower.at("image_pos_embed"), times = tower.at("visual_temporal_embedding");
    positions.require("type", "learned_abs_2d");
    times.require("type", "COSINE");
    max_side = positions.integer("max_pos_embeddings", 1, 1 << 12, max_side);
    times.ignore({"max_temporal_embeddings"});
    features = tower.at("image_feature_source").as<std::vector<std::string>>();
    for (const std::string& source : features)
      if (source != "spatial_avg_pool" && source != "temporal_avg_pool" && source != "last_frame")
        fail(ErrorKind::unsupported, "known: spatial_avg_pool, temporal_avg_pool, last_frame",
             "config.json: image_feature_source holds \"{}\"", source);
    if (language.has("forced_bos_token_id"))
      rules.forced_first_token = language.get<int64_t>("forced_bos_token_id", 0);
    if (language.has("forced_eos_token_id"))
      rules.forced_last_token = language.get<int64_t>("forced_eos_token_id", 2);
    rules.no_repeat_ngram_size = language.integer("no_repeat_ngram_size", 0, 1 << 10, 0);
    rules.stops_beams_early = language.get("early_stopping", false);
  }
};

class Florence2 final : public Model,
                        public Generator,
                        public LanguageTrainable,
                        public AnswerReader,
                        public AnswerStreamer {
 public:
  Florence2(Config config, const Checkpoint& checkpoint, const Weights& w)
      : config_(std::move(config)),
        vision_(config_.vision, w / "vision_tower"),
        text_(config_.text, w / "language_model"),
        tokenizer_(checkpoint.tokenizer),
        chat_template_(ChatTemplate::compile(kTemplate)),
        eos_ids_(checkpoint.eos_ids()) {
    int64_t channels = config_.vision.width(), half = channels / 2;
    projection_CD_ = w.take("image_projection", {channels, config_.width});
    projection_norm_ = nn::Norm(w / "image_proj_norm", config_.width, nn::NormKind::layer, 1e-5);
    rows_ = nn::Embedding(w / "image_pos_embed.row_embeddings", config_.max_side, half);
    columns_ = nn::Embedding(w / "image_pos_embed.column_embeddings", config_.max_side, channels - half);
    w.ignore("visual_temporal_embed.pos_idx_to_embed");  // sines and cosines; those of time 0 are 0 and 1
    time_C_ = at::arange(channels).remainder(2).to(at::kFloat);
    if (!checkpoint.preprocessor.is_null()) processor_ = ImageProcessor::from(checkpoint.preprocessor);
  }

  Prompt prepare(const Request& request) const override {
    if (request.images.size() != 1)
      fail(ErrorKind::bad_request, "give one picture", "Florence-2 reads one picture, {} were given",
           request.images.size());
    const ImageProcessor& processor = needed(processor_);
    Prompt prompt;
    prompt.text = question_of(request, text_of(request)).text;
    prompt.ids = tokenizer_.tokenizer->ids(prompt.text);
    MediaInput media;
    media.pixel_values = processor(request.images.front()).unsqueeze(0);
    int64_t places =
        config_.vision.places(media.pixel_values.size(2)) * config_.vision.places(media.pixel_values.size(3));
    for (const std::string& source : config_.features)
      media.rows += source == "spatial_avg_pool" ? 1 : places;
    set_key(media);
    prompt.media.push_back(std::move(media));
    return prompt;
  }

  Tensor encode(const MediaInput& media) const override {
    Tensor map_NChw = vision_(media.pixel_values);
    int64_t height = map_NChw.size(2), width = map_NChw.size(3);
    if (std::max(height, width) > config_.max_side)
      fail(ErrorKind::bad_request, "use the checkpoint's own preprocessor_config.json",
           "the picture has {} x {} places, the model knows {}", height, width, config_.max_side);
    Tensor columns = columns_(at::arange(width)).unsqueeze(0).expand({height, -1, -1});
    Tensor rows = rows_(at::arange(height)).unsqueeze(1).expand({-1, width, -1});
    Tensor x_NLC = (map_NChw.permute({0, 2, 3, 1}) + at::cat({columns, rows}, -1)).flatten(1, 2) + time_C_;
    std::vector<Tensor> features;
    for (const std::string& source : config_.features)  // of one frame; the mean over time is the frame
      features.push_back(source == "spatial_avg_pool" ? x_NLC.mean(1, /*keepdim=*/true) : x_NLC);
    Tensor image_NPD = projection_norm_(at::matmul(at::cat(features, 1), projection_CD_));
    return image_NPD.flatten(0, 1);
  }

  Tensor prefill(const Prompt& prompt, const std::vector<Tensor>& features, Sequence& sequence,
                 bool) const override {
    Tensor states_SD = read({&prompt}, features).front();
    sequence = {};
    keep_memory(sequence, text_.remember(states_SD));
    return extend({{{config_.text.start_id}, &sequence}});
  }

  Tensor extend(const std::vector<Continuation>& batch) const override {
    auto [ids, packed] = pack(batch);
    return text_.logits(text_.decode(ids, packed, memories_of(batch)));
  }

  int64_t max_positions() const override { return config_.text.max_position_embeddings; }
  std::vector<int64_t> eos_ids() const override { return eos_ids_; }
  GenerationRules rules() const override { return config_.rules; }
  bool is_encoder_decoder() const override { return true; }

  Prompt prepare_example(const Request& request) const override {
    Request asked = prompt_and_target(request);
    Prompt prompt = prepare(asked);
    prompt.labels = tokenizer_.tokenizer->ids(*asked.target);
    return prompt;
  }

  Losses loss(const std::vector<Prompt>& examples, bool all_logits) const override {
    std::vector<const Prompt*> prompts;
    std::vector<Tensor> features;
    for (const Prompt& example : examples) {
      prompts.push_back(&example);
      features.push_back(encode(example.media.front()));
    }
    std::vector<CrossMemory> memories;
    for (const Tensor& states_SD : read(prompts, features)) memories.push_back(text_.remember(states_SD));
    DecoderTargets targets = decoder_targets(examples, config_.text.start_id);
    Tensor hidden_TD = text_.decode(targets.ids, targets.batch.packed, memories);
    return next_token_loss(hidden_TD, targets.batch, all_logits,
                           [&](const Tensor& rows) { return text_.logits(rows); });
  }

  PartNames part_names() const override { return {"vision_tower*", "image_*", "*"}; }

  std::string readable_text(const Tokenizer& tokenizer, std::span<const int64_t> ids,
                            const Request& request) const override {
    std::string text = tokenizer.decode(ids, /*skip_special_tokens=*/false);
    for (std::string_view mark : {"<s>", "</s>", "<pad>"})
      for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at))
        text.erase(at, mark.size());
    return notation_of(request) == Notation::text ? read_notation(text, Notation::text, 1, 1).text : text;
  }

  ParsedAnswer read_answer(const std::string& text, const Request& request) const override {
    const Image& image = request.images.at(0);
    return read_notation(text, notation_of(request), image.height, image.width);
  }

  // Of places the text is their labels, which are known when the answer is whole.
  std::string settled_text(const std::string& text, const Request& request) const override {
    constexpr size_t kLongest = sizeof "<pad>" - 1;  // of the marks that readable_text() takes out
    if (notation_of(request) != Notation::text) return "";
    size_t open = text.rfind('<');
    bool may_be_mark = open != std::string::npos && text.size() - open < kLongest;
    return may_be_mark ? text.substr(0, open) : text;
  }

 private:
  std::string text_of(const Request& request) const {
    return request.messages.empty() ? request.prompt
                                    : render_prompt(request, *chat_template_, tokenizer_.info);
  }

  Notation notation_of(const Request& request) const {
    const Task* task = question_of(request, text_of(request)).task;
    return task ? task->notation : Notation::text;
  }

  // The encoder's states of each prompt behind the rows of its picture.
  std::vector<Tensor> read(const std::vector<const Prompt*>& prompts,
                           const std::vector<Tensor>& features) const {
    std::vector<Tensor> rows;
    std::vector<int64_t> counts;
    nn::Packed packed;
    for (size_t idx = 0; idx < prompts.size(); ++idx) {
      rows.push_back(at::cat({features[idx], text_.embed(ids_tensor(prompts[idx]->ids))}));
      counts.push_back(rows.back().size(0));
      packed.spans.push_back({counts.back()});
    }
    return text_.encode(at::cat(rows), packed).split_with_sizes(counts);
  }

  Config config_;
  Davit vision_;
  Tensor projection_CD_, time_C_;
  nn::Norm projection_norm_;
  nn::Embedding rows_, columns_;
  Bart text_;
  LoadedTokenizer tokenizer_;
  std::shared_ptr<const ChatTemplate> chat_template_;
  std::vector<int64_t> eos_ids_;
  std::optional<ImageProcessor> processor_;
};

}  // namespace

System florence_2() {
  return {.slug = "florence-2",
          .accepts =
              [](const Checkpoint& c) {
                return c.has_architecture("Florence2ForConditionalGeneration") &&
                       c.config.find("vision_config").has("dim_embed");
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<Florence2>(Config(c.config), c, w);
          },
          .complete =
              [](Checkpoint& c) {
                if (c.tokenizer.tokenizer && !c.folder.empty())
                  c.tokenizer = load_tokenizer(c.folder, location_tokens());
              }};
}

}  // namespace vlm::florence
