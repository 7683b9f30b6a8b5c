#include "train/objective.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "train/patch_labels.h"

namespace vlm {

namespace {

constexpr char kPatchWeight[] = "patch_classifier.weight";
constexpr char kPatchBias[] = "patch_classifier.bias";

// Keeps the last state of the vision tower that a pass computes, [N, S, V], the connector's, [N, P, D], and
// the attention of the language model's layers at which looks are trained.
class PassStates final : public trace::Sink {
 public:
  explicit PassStates(const std::vector<int64_t>& gaze_layers) {
    for (int64_t layer : gaze_layers) layers[fmt::format("/{}", layer)];
  }
  void record(const std::string& name, const Tensor& tensor) override {
    if (name.starts_with("hidden/vision/") && std::isdigit(static_cast<unsigned char>(name.back())))
      tower = tensor;
    if (name == "hidden/connector") connector = tensor;
    if (name.starts_with(kQuery)) keep(name.substr(kQuery.size()), &QueriesAndKeys::query, tensor);
    if (name.starts_with(kKey)) keep(name.substr(kKey.size()), &QueriesAndKeys::key, tensor);
  }
  Tensor tower, connector;
  std::map<std::string, QueriesAndKeys> layers;  // by "/<index>"

 private:
  static constexpr std::string_view kQuery = "attention/text/query", kKey = "attention/text/key";
  void keep(const std::string& layer, Tensor QueriesAndKeys::*part, const Tensor& tensor) {
    auto found = layers.find(layer);
    if (found != layers.end()) found->second.*part = tensor;
  }
};

// Draws the connector's outputs towards the embeddings of the words for what their patches show, so that a
// word in a question and the patches it means resemble each other from the start.
class WordLoss {
 public:
  WordLoss(const LoadedModel& model) {
    for (const Parameter& parameter : model.weights->parameters())
      if (parameter.name.ends_with("embed_tokens.weight")) embedding_KD_ = parameter.value;
    if (!embedding_KD_.defined())
      fail(ErrorKind::unsupported, "set word_loss = 0", "{} has no table of word embeddings",
           model.system->slug);
    const Tokenizer& tokens = model.checkpoint.tokens();
    for (const std::vector<std::string>& words : patch_words()) {
      Tensor table = at::zeros({static_cast<int64_t>(words.size()), embedding_KD_.size(0)});
      for (size_t idx = 0; idx < words.size(); ++idx)
        for (int64_t id : ids_of(tokens, words[idx])) table[static_cast<int64_t>(idx)][id] += 1;
      tables_.push_back(table);
    }
    background_ = at::zeros({embedding_KD_.size(0)});
    for (int64_t id : ids_of(tokens, "background")) background_[id] += 1;
  }

  Tensor operator()(const Tensor& features_ND, const Tensor& labels) const {
    constexpr double kBackgroundWeight = 0.1;
    Tensor wanted_NK;
    for (size_t field = 0; field < tables_.size(); ++field) {
      Tensor words = tables_[field].index_select(0, labels.select(1, static_cast<int64_t>(field)));
      wanted_NK = wanted_NK.defined() ? wanted_NK.add_(words) : words;
    }
    Tensor counts_N1 = wanted_NK.sum(1, true), is_empty_N1 = counts_N1 == 0;
    wanted_NK = at::where(is_empty_N1, background_.unsqueeze(0), wanted_NK / counts_N1.clamp_min(1));
    Tensor weights_N = at::where(is_empty_N1, at::full({}, kBackgroundWeight), at::ones({})).squeeze(1);
    Tensor x_ND = features_ND * at::rsqrt(features_ND.pow(2).mean(-1, true) + 1e-6);
    Tensor likely_NK = at::log_softmax(at::linear(x_ND, embedding_KD_), -1);
    return -((likely_NK * wanted_NK).sum(1) * weights_N).sum() / weights_N.sum();
  }

 private:
  // A letter is a token of its own, a word the tokens it has behind a space.
  static std::vector<int64_t> ids_of(const Tokenizer& tokens, const std::string& word) {
    if (word.empty()) return {};
    if (word.size() == 1)
      if (auto id = tokens.token_to_id(word)) return {*id};
    return tokens.ids(word, false);
  }

  Tensor embedding_KD_, background_;
  std::vector<Tensor> tables_;  // by field: [classes, K]
};

// An answer is right when each of its tokens is the likeliest. Logits: of the counted rows. The first label
// counts where a decoder begins with a start token of its own.
std::map<std::string, ExactMatch::Count> count_answers(const std::vector<Example>& examples,
                                                       const std::vector<Prompt>& prompts,
                                                       const Tensor& logits) {
  std::map<std::string, ExactMatch::Count> kinds;
  std::vector<int64_t> likeliest = to_ids(logits.detach().argmax(1));
  size_t row = 0, counted = 0;
  for (const Prompt& prompt : prompts)
    counted += prompt.labels.size() -
               static_cast<size_t>(std::count(prompt.labels.begin(), prompt.labels.end(), kIgnore));
  size_t first = counted == likeliest.size() ? 0 : 1;
  for (size_t idx = 0; idx < examples.size(); ++idx) {
    const std::vector<int64_t>& labels = prompts[idx].labels;
    const std::vector<std::string>& names = examples[idx].kinds;
    size_t answer = 0;
    bool is_right = true, is_open = false;
    auto close = [&] {
      if (!is_open) return;
      ExactMatch::Count& count = kinds[answer < names.size() ? names[answer] : "answer"];
      ++count.asked, count.right += is_right;
      ++answer, is_open = false, is_right = true;
    };
    for (size_t at = first; at < labels.size(); ++at) {
      if (labels[at] == kIgnore) {
        close();
        continue;
      }
      is_open = true;
      is_right = is_right && likeliest[row] == labels[at];
      ++row;
    }
    close();
  }
  return kinds;
}

std::unique_ptr<ExampleSource> open_examples(const Recipe& recipe, const StageRecipe& stage,
                                             const ExampleOptions& options, const LanguageTrainable* model) {
  return recipe.source == "scenes" ? scene_examples(model, stage.data, options)
                                   : list_examples(model, recipe.source, recipe.images, options);
}

// Answers to questions, what the patches of a scene show, or both.
class AnswerObjective final : public Objective {
 public:
  AnswerObjective(const Recipe& recipe, const StageRecipe& stage, ExampleOptions options,
                  const LoadedModel& model, const std::map<std::string, Tensor>& known)
      : stage_(stage),
        system_(model.model),
        trainable_(as<LanguageTrainable>(*system_)),
        generator_(as<Generator>(*system_)),
        tokenizer_(model.checkpoint.tokenizer.tokenizer),
        pad_id_(model.checkpoint.tokenizer.info.pad_id.value_or(0)) {
    if (!trainable_ || (stage.objective == "patches" && !generator_))
      fail(ErrorKind::unsupported, "`vlm list` shows which systems train", "{} cannot be trained on {}",
           model.system->slug, stage.objective);
    if (stage.patch_loss > 0) {
      if (recipe.source != "scenes")
        fail(ErrorKind::bad_request, "set patch_loss = 0, or data.source = \"scenes\"",
             "stage {}: only drawn scenes say what each patch shows", stage.name);
      options.patch_grid = add_classifier(model.checkpoint.config, known);
      crowded_ = static_cast<int64_t>(std::lround(stage.dense_share * static_cast<double>(stage.batch)));
    }
    if (stage.word_loss > 0 && stage.patch_loss <= 0)
      fail(ErrorKind::bad_request, "set patch_loss as well",
           "stage {}: word_loss needs the labels of patches", stage.name);
    if (stage.word_loss > 0) word_loss_.emplace(model);
    if (stage.attention_loss > 0 && stage.patch_loss <= 0)
      fail(ErrorKind::bad_request, "set patch_loss as well",
           "stage {}: attention_loss needs to know what patches show", stage.name);
    if (stage.attention_loss > 0) options.gaze_tokens = tokenizer_;
    source_ = open_examples(recipe, stage, options, trainable_);
  }

  TrainingBatch make_batch(int64_t index) const override {
    TrainingBatch batch;
    for (int64_t at = 0; at < crowded_; ++at)
      batch.crowded.push_back(source_->make_crowded(index * crowded_ + at));
    size_t longest = 0;
    for (int64_t at = 0; at < stage_.batch; ++at) {
      batch.examples.push_back(source_->make(index * stage_.batch + at));
      longest = std::max(longest, batch.examples.back().prompt.ids.size());
    }
    bool reads_padding = generator_ && generator_->is_encoder_decoder();  // its encoder would see it
    if (stage_.pad && !reads_padding)
      for (Example& example : batch.examples) pad_example(example, static_cast<int64_t>(longest), pad_id_);
    return batch;
  }

  PassResult run(TrainingBatch batch) const override {
    PassResult result;
    std::vector<Prompt> prompts;
    for (Example& example : batch.examples) {
      result.tokens += static_cast<int64_t>(example.prompt.ids.size());
      prompts.push_back(std::move(example.prompt));
    }
    result.examples = static_cast<int64_t>(prompts.size());
    PassStates states(stage_.attention_loss > 0 ? stage_.attention_layers : std::vector<int64_t>());
    LanguageTrainable::Losses losses;
    std::vector<Tensor> patch_logits, connected, patch_labels;
    for (const std::vector<Example>* examples : {&batch.examples, &batch.crowded})
      for (const Example& example : *examples) patch_labels.push_back(example.patch_labels);
    Tensor wanted = patch_weight_.defined() ? at::cat(patch_labels) : Tensor();
    {
      trace::Scope scope(patch_weight_.defined() ? &states : nullptr);
      if (stage_.objective == "answers")
        losses = trainable_->loss(prompts, stage_.question_loss > 0);
      else
        encode_pictures(prompts);
      auto look = [&] {
        patch_logits.push_back(name_patches(wanted.size(0) / count(batch), states.tower));
        if (word_loss_) connected.push_back(states.connector.flatten(0, 1));
      };
      if (losses.loss.defined() && stage_.attention_loss > 0)
        add_gaze_loss(batch.examples, prompts, states, result);
      if (patch_weight_.defined()) look();
      if (!batch.crowded.empty()) {
        std::vector<Prompt> crowded;
        for (Example& example : batch.crowded) crowded.push_back(std::move(example.prompt));
        encode_pictures(crowded);
        look();
      }
      if (word_loss_) {
        Tensor words = (*word_loss_)(at::cat(connected), wanted);
        result.word_value = words.item<double>();
        add(result.loss, words * stage_.word_loss);
      }
    }
    if (losses.loss.defined()) {
      result.value = losses.loss.item<double>();
      add(result.loss, losses.loss);
      Tensor answers = losses.logits;
      if (stage_.question_loss > 0) {
        NextTokens counted = next_tokens(prompts, true), asked = next_tokens(prompts, false);
        answers = losses.logits.index_select(0, counted.rows);
        Tensor questions = losses.logits.index_select(0, asked.rows);
        add(result.loss, at::cross_entropy_loss(questions, asked.ids) * stage_.question_loss);
      }
      result.kinds = count_answers(batch.examples, prompts, answers);
    }
    if (!patch_logits.empty()) {
      Tensor logits = at::cat(patch_logits);
      Tensor patch = patch_loss(logits, wanted);
      result.patch_value = patch.item<double>();
      result.patch_right = patch_accuracy(logits, wanted);
      add(result.loss, patch * stage_.patch_loss);
    }
    return result;
  }

 private:
  // Phrases look in the first of the chosen layers, answers in the last one, behind it.
  void add_gaze_loss(const std::vector<Example>& examples, const std::vector<Prompt>& prompts,
                     const PassStates& states, PassResult& result) const {
    std::vector<int64_t> lengths;
    for (const Prompt& prompt : prompts) lengths.push_back(static_cast<int64_t>(prompt.ids.size()));
    for (size_t part : {0, 1}) {
      int64_t layer = part == 0 ? stage_.attention_layers.front() : stage_.attention_layers.back();
      const QueriesAndKeys& attention = states.layers.at(fmt::format("/{}", layer));
      if (!attention.query.defined() || !attention.key.defined())
        fail(ErrorKind::unsupported, "set attention_loss = 0", "stage {}: layer {} shows no attention",
             stage_.name, layer);
      std::vector<std::vector<const Gaze*>> gazes(examples.size());
      for (size_t idx = 0; idx < examples.size(); ++idx)
        for (const Gaze& gaze : examples[idx].gazes)
          if (gaze.in_answer == (part == 1)) gazes[idx].push_back(&gaze);
      GazeLoss loss = gaze_loss(attention, lengths, gazes);
      if (!loss.loss.defined()) continue;
      add(result.loss, loss.loss * stage_.attention_loss);
      result.gaze_mass[part] += loss.mass;
      result.gazes[part] += loss.count;
    }
  }

  static void add(Tensor& sum, const Tensor& part) { sum = sum.defined() ? sum + part : part; }
  static int64_t count(const TrainingBatch& batch) {
    return static_cast<int64_t>(batch.examples.size() + batch.crowded.size());
  }

  // Rows of logits whose next token belongs to an answer, or to a question.
  struct NextTokens {
    Tensor rows, ids;
  };
  NextTokens next_tokens(const std::vector<Prompt>& prompts, bool of_answers) const {
    std::vector<int64_t> rows, ids;
    int64_t begin = 0;
    for (const Prompt& prompt : prompts) {
      for (size_t at = 1; at < prompt.ids.size(); ++at) {
        bool is_answer = prompt.labels[at] != kIgnore;
        if (is_answer != of_answers || (!is_answer && tokenizer_->is_special(prompt.ids[at]))) continue;
        if (std::binary_search(prompt.turns_apart.begin(), prompt.turns_apart.end(),
                               static_cast<int64_t>(at)))
          continue;  // what stands before is another turn
        rows.push_back(begin + static_cast<int64_t>(at) - 1);
        ids.push_back(prompt.ids[at]);
      }
      begin += static_cast<int64_t>(prompt.ids.size());
    }
    return {ids_tensor(rows), ids_tensor(ids)};
  }

  // The classifier of patches; returns their number along a side.
  int64_t add_classifier(const Json& config, const std::map<std::string, Tensor>& known) {
    Json vision = config.at("vision_config");
    int64_t width = vision.integer("hidden_size", 1, 1 << 16), classes = 0;
    for (int64_t field : patch_fields()) classes += field;
    auto add = [&](const char* name, const Shape& shape) {
      auto found = known.find(name);
      bool fits = found != known.end() && found->second.sizes() == at::IntArrayRef(shape);
      Tensor value = fits ? found->second.clone() : at::zeros(shape);
      own_parameters_.push_back({name, value});
      return value;
    };
    patch_weight_ = add(kPatchWeight, {classes, width});
    patch_bias_ = add(kPatchBias, {classes});
    return vision.integer("image_size", 1, 1 << 14) / vision.integer("patch_size", 1, 1 << 10);
  }

  // Only for what the tower computes on the way.
  void encode_pictures(const std::vector<Prompt>& prompts) const {
    std::vector<Tensor> pixels;
    for (const Prompt& prompt : prompts)
      for (const MediaInput& media : prompt.media) pixels.push_back(media.pixel_values);
    MediaInput media;
    media.pixel_values = at::cat(pixels);
    generator_->encode(media);
  }

  Tensor name_patches(int64_t patches, const Tensor& state_NSV) const {
    if (!state_NSV.defined())
      fail(ErrorKind::unsupported, "set patch_loss = 0", "stage {}: this system's tower shows no patches",
           stage_.name);
    Tensor state = state_NSV.slice(1, state_NSV.size(1) - patches).flatten(0, 1);  // without a class token
    return at::linear(state, patch_weight_, patch_bias_);
  }

  StageRecipe stage_;
  std::shared_ptr<const Model> system_;
  const LanguageTrainable* trainable_;
  const Generator* generator_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  int64_t pad_id_;
  int64_t crowded_ = 0;  // scenes of a batch
  std::unique_ptr<ExampleSource> source_;
  Tensor patch_weight_, patch_bias_;
  std::optional<WordLoss> word_loss_;
};

// Pictures nearer to their own texts than to the others of the batch; for "pairs", every objective over pairs
// that the model has.
class ContrastiveObjective final : public Objective {
 public:
  ContrastiveObjective(const Recipe& recipe, const StageRecipe& stage, const ExampleOptions& options,
                       const LoadedModel& model)
      : stage_(stage),
        system_(model.model),
        embedder_(as<Embedder>(*system_)),
        learner_(stage.objective == "pairs" ? as<PairTrainable>(*system_) : nullptr),
        source_(open_examples(recipe, stage, options, nullptr)) {
    if (embedder_ && stage.objective == "pairs" && !learner_)
      fail(ErrorKind::unsupported, "set objective = \"contrastive\"",
           "stage {}: {} has no objectives over pairs but the contrast", stage.name, model.system->slug);
    if (!embedder_)
      fail(ErrorKind::unsupported, "`vlm list` shows which systems embed pictures and texts",
           "{} cannot be trained on pairs", model.system->slug);
    if (stage.batch < 2)
      fail(ErrorKind::bad_request, "choose a batch of at least 2",
           "stage {}: one pair has nothing to differ from", stage.name);
  }

  TrainingBatch make_batch(int64_t index) const override {
    std::vector<Image> images;
    std::vector<std::string> texts;
    for (int64_t at = 0; at < stage_.batch; ++at) {
      ExampleSource::Pair pair = source_->make_pair(index * stage_.batch + at);
      images.push_back(std::move(pair.image));
      texts.push_back(std::move(pair.text));
    }
    TrainingBatch batch;
    batch.pixels = embedder_->prepare_images(images);
    batch.text_ids = embedder_->prepare_texts(texts);
    return batch;
  }

  PassResult run(TrainingBatch batch) const override {
    PassResult result;
    if (learner_) {
      result.loss = learner_->pair_losses(batch.pixels, batch.text_ids).loss;
      result.value = result.loss.item<double>();
      result.examples = batch.text_ids.size(0);
      result.tokens = batch.text_ids.numel();
      return result;
    }
    Tensor logits = embedder_->logits_per_image(embedder_->embed_images(batch.pixels),
                                                embedder_->embed_texts(batch.text_ids));
    result.loss = embedder_->contrastive_loss(logits);
    result.value = result.loss.item<double>();
    result.examples = logits.size(0);
    result.tokens = batch.text_ids.numel();
    ExactMatch::Count& pairs = result.kinds["pair"];
    pairs.asked = logits.size(0);
    pairs.right = (logits.argmax(1) == at::arange(logits.size(0))).sum().item<int64_t>();
    return result;
  }

 private:
  StageRecipe stage_;
  std::shared_ptr<const Model> system_;
  const Embedder* embedder_;
  const PairTrainable* learner_;
  std::unique_ptr<ExampleSource> source_;
};

}  // namespace

std::unique_ptr<Objective> make_objective(const Recipe& recipe, const StageRecipe& stage, int64_t stage_index,
                                          const LoadedModel& model,
                                          const std::map<std::string, Tensor>& known) {
  constexpr uint64_t kApart = 1000003;  // stages see different examples
  ExampleOptions options;
  options.seed = recipe.seed + kApart * static_cast<uint64_t>(stage_index + 1);
  options.longest = stage.tokens;
  options.drills = stage.drills;
  options.apart = stage.apart;
  if (stage.objective == "contrastive" || stage.objective == "pairs")
    return std::make_unique<ContrastiveObjective>(recipe, stage, options, model);
  return std::make_unique<AnswerObjective>(recipe, stage, options, model, known);
}

LanguageTrainable::PartNames part_names_of(const Model& model) {
  if (const auto* trainable = as<LanguageTrainable>(model)) return trainable->part_names();
  return {"*vision*", "*projection*", "*"};  // dual encoders
}

}  // namespace vlm
