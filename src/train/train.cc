#include "train/train.h"

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>

#include "base/log.h"
#include "base/parallel.h"
#include "train/evaluate.h"
#include "train/examples.h"
#include "train/initial_source.h"
#include "train/patch_labels.h"
#include "train/save.h"
#include "train/training_state.h"
#include "train/workers.h"

namespace vlm {

namespace {

constexpr int64_t kLogEvery = 20;      // steps
constexpr int64_t kBadStepsMost = 50;  // in a row, before training gives up
constexpr char kPatchWeight[] = "patch_classifier.weight";
constexpr char kPatchBias[] = "patch_classifier.bias";

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Keeps the last state of the vision tower that a pass computes: [N, S, V].
class TowerState final : public trace::Sink {
 public:
  void record(const std::string& name, const Tensor& tensor) override {
    if (name.starts_with("hidden/vision/") && std::isdigit(static_cast<unsigned char>(name.back())))
      state = tensor;
  }
  Tensor state;
};

// Products of matrices in bfloat16 while it lives, on this thread; weights, sums and losses stay float32.
class BfloatProducts {
 public:
  explicit BfloatProducts(bool enabled) : enabled_(enabled) {
    if (!enabled_) return;
    at::autocast::set_autocast_cpu_dtype(at::kBFloat16);
    at::autocast::set_autocast_cache_enabled(false);  // every weight is used once in a pass
    at::autocast::set_cpu_enabled(true);
  }
  ~BfloatProducts() {
    if (enabled_) at::autocast::set_cpu_enabled(false);
  }
  BfloatProducts(const BfloatProducts&) = delete;
  BfloatProducts& operator=(const BfloatProducts&) = delete;

 private:
  bool enabled_;
};

// What one pass of the model over a batch gives.
struct Pass {
  std::vector<Tensor> gradients;  // of the optimizer's entries
  double loss = 0, patch_loss = 0;
  int64_t tokens = 0, examples = 0;
  std::map<std::string, ExactMatch::Count> kinds;
  std::vector<double> patch_right;
};

// What happened since the last line of the log.
struct Window {
  double loss = 0, patch_loss = 0, norm = 0;
  int64_t steps = 0, tokens = 0, examples = 0;
  std::map<std::string, ExactMatch::Count> kinds;  // answers whose tokens all were the likeliest
  std::vector<double> patch_right;
  std::vector<int64_t> patch_asked;
  Clock::time_point start = Clock::now();
};

class Trainer {
 public:
  Trainer(const Recipe& recipe, const TrainOptions& options) : recipe_(recipe), options_(options) {}
  TrainResult run();

 private:
  void open_stage(const StageRecipe& stage);
  void make_optimizer(const StageRecipe& stage);
  bool run_stage(const StageRecipe& stage);
  Pass pass(const StageRecipe& stage, BatchQueue::Batch batch) const;
  double compute_gradients(const StageRecipe& stage, BatchQueue& queue);
  void encode_pictures(const std::vector<Prompt>& prompts) const;
  static std::map<std::string, ExactMatch::Count> count_answers(const BatchQueue::Batch& batch,
                                                                const std::vector<Prompt>& prompts,
                                                                const Tensor& logits);
  BatchQueue::Batch make_batch(const StageRecipe& stage, int64_t index) const;
  void log_window(const StageRecipe& stage, double lr);
  void evaluate(const StageRecipe& stage);
  void save_state(int64_t stage_index);
  void finish_stage();
  std::string part_of(const std::string& name) const;
  bool is_listed(const std::vector<std::string>& list, const std::string& name) const;
  bool should_stop() const { return options_.stop && *options_.stop; }

  Recipe recipe_;
  TrainOptions options_;
  TrainResult result_;
  LoadedModel model_;
  const LanguageTrainable* trainable_ = nullptr;
  LanguageTrainable::PartNames parts_;
  std::vector<Parameter> parameters_;  // of the model, and the patch classifier's
  std::unique_ptr<AdamW> adam_;
  std::unique_ptr<AveragedWeights> average_;
  std::vector<std::string> average_names_;
  std::unique_ptr<ExampleSource> examples_;
  std::unique_ptr<Workers> workers_;
  std::map<std::string, Tensor> values_;  // parameters between stages
  TrainingState loaded_;
  Tensor patch_weight_, patch_bias_;
  int64_t stage_index_ = 0, step_ = 0, pad_id_ = 0, bad_steps_ = 0;
  Window window_;
};

std::string Trainer::part_of(const std::string& name) const {
  if (glob_matches(parts_.vision, name)) return "vision";
  return glob_matches(parts_.connector, name) ? "connector" : "language";
}

bool Trainer::is_listed(const std::vector<std::string>& list, const std::string& name) const {
  return std::any_of(list.begin(), list.end(), [&](const std::string& item) {
    return item == part_of(name) || glob_matches(item, name);
  });
}

// Every stage binds the model anew, from the values that the one before left: adapters may come and go.
void Trainer::open_stage(const StageRecipe& stage) {
  Checkpoint checkpoint = recipe_.from_scratch ? Checkpoint::open_without_weights(recipe_.model_folder)
                                               : Checkpoint::open(recipe_.model_folder);
  if (!values_.empty()) {
    std::vector<std::pair<std::string, Tensor>> named;
    for (const auto& [name, value] : values_)
      if (name != kPatchWeight && name != kPatchBias) named.emplace_back(name, value);
    checkpoint.source = memory_source(std::move(named));
  } else if (recipe_.from_scratch) {
    checkpoint.source = initial_source(recipe_.seed, checkpoint.config);
  }
  model_ = bind_model(std::move(checkpoint), {.trainable = true, .lora = stage.lora}, recipe_.system);
  trainable_ = as<LanguageTrainable>(*model_.model);
  if (!trainable_)
    fail(ErrorKind::unsupported, "`vlm list` shows which systems train", "{} cannot be trained on answers",
         model_.system->slug);
  if (stage.objective == "patches" && !as<Generator>(*model_.model))
    fail(ErrorKind::unsupported, "`vlm list` shows which systems answer", "{} has no tower to train on patches",
         model_.system->slug);
  parts_ = trainable_->part_names();
  parameters_ = model_.weights->parameters();
  pad_id_ = model_.checkpoint.tokenizer.info.pad_id.value_or(0);

  ExampleOptions options{.seed = recipe_.seed + 1000003 * static_cast<uint64_t>(stage_index_ + 1),
                         .longest = stage.tokens};
  patch_weight_ = patch_bias_ = Tensor();
  if (stage.patch_loss > 0) {
    Json vision = model_.checkpoint.config.at("vision_config");
    options.patch_grid = vision.at("image_size").as<int64_t>() / vision.at("patch_size").as<int64_t>();
    int64_t width = vision.at("hidden_size").as<int64_t>(), classes = 0;
    for (int64_t field : patch_fields()) classes += field;
    auto value = [&](const char* name, Shape shape) {
      auto found = values_.find(name);
      Tensor start = found != values_.end() && found->second.sizes() == at::IntArrayRef(shape)
                         ? found->second.clone()
                         : at::zeros(shape);
      parameters_.push_back({name, start.set_requires_grad(true)});
      return parameters_.back().value;
    };
    patch_weight_ = value(kPatchWeight, {classes, width});
    patch_bias_ = value(kPatchBias, {classes});
  }
  examples_ = recipe_.source == "scenes"
                  ? scene_examples(*trainable_, stage.data, options)
                  : list_examples(*trainable_, recipe_.source, recipe_.images, options);
  make_optimizer(stage);
}

void Trainer::make_optimizer(const StageRecipe& stage) {
  std::vector<AdamW::Entry> entries;
  std::vector<Tensor> averaged;
  average_names_.clear();
  int64_t trained = 0, all = 0;
  for (const Parameter& parameter : parameters_) {
    bool is_classifier = parameter.name == kPatchWeight || parameter.name == kPatchBias;
    bool trains = is_classifier ||
                  (is_listed(stage.trains, parameter.name) && !is_listed(stage.freezes, parameter.name));
    Tensor value = parameter.value;
    value.set_requires_grad(trains);
    all += value.numel();
    if (!trains) continue;
    trained += value.numel();
    double scale = 1;
    for (const auto& [pattern, factor] : stage.lr_scale)
      if (is_listed({pattern}, parameter.name)) scale *= factor;
    AdamW::Entry entry{parameter.name, value, scale, decays_by_default(parameter.name, value)};
    auto moment = [&](const std::map<std::string, Tensor>& moments) {
      auto found = moments.find(parameter.name);
      return found != moments.end() && found->second.sizes() == value.sizes() ? found->second : Tensor();
    };
    entry.first = moment(loaded_.first);
    entry.second = moment(loaded_.second);
    entries.push_back(std::move(entry));
    averaged.push_back(value);
    average_names_.push_back(parameter.name);
  }
  if (entries.empty())
    fail(ErrorKind::bad_request, "parts are vision, connector and language; patterns match published names",
         "stage {} trains nothing", stage.name);
  adam_ = std::make_unique<AdamW>(std::move(entries), stage.adam);
  adam_->set_steps_done(loaded_.adam_steps);
  average_.reset();
  if (stage.average > 0) {
    average_ = std::make_unique<AveragedWeights>(averaged, stage.average);
    for (size_t at = 0; at < average_names_.size(); ++at) {
      auto found = loaded_.averages.find(average_names_[at]);
      if (found != loaded_.averages.end() && found->second.sizes() == averaged[at].sizes())
        average_->averages()[at].copy_(found->second);
    }
  }
  loaded_ = {};
  log(LogLevel::info, "stage {}: {} steps of {} examples, {:.2f} of {:.2f} million parameters", stage.name,
      stage.steps, stage.batch * stage.accumulate, static_cast<double>(trained) / 1e6,
      static_cast<double>(all) / 1e6);
}

BatchQueue::Batch Trainer::make_batch(const StageRecipe& stage, int64_t index) const {
  BatchQueue::Batch batch;
  size_t longest = 0;
  for (int64_t at = 0; at < stage.batch; ++at) {
    batch.push_back(examples_->make(index * stage.batch + at));
    longest = std::max(longest, batch.back().prompt.ids.size());
  }
  if (stage.pad)
    for (Example& example : batch) pad_example(example, static_cast<int64_t>(longest), pad_id_);
  return batch;
}

// Forward and backward over one batch, on any thread.
Pass Trainer::pass(const StageRecipe& stage, BatchQueue::Batch batch) const {
  Pass result;
  std::vector<Prompt> prompts;
  std::vector<Tensor> labels;
  for (Example& example : batch) {
    result.tokens += static_cast<int64_t>(example.prompt.ids.size());
    prompts.push_back(std::move(example.prompt));
    if (example.patch_labels.defined()) labels.push_back(example.patch_labels);
  }
  result.examples = static_cast<int64_t>(batch.size());
  TowerState tower;
  LanguageTrainable::Losses losses;
  Tensor total, patch_logits, patch_wanted;
  {
    trace::Scope scope(patch_weight_.defined() ? &tower : nullptr);
    BfloatProducts products(stage.precision == "bfloat16");
    if (stage.objective == "patches")
      encode_pictures(prompts);
    else
      losses = trainable_->loss(prompts, false);
    if (patch_weight_.defined() && tower.state.defined()) {
      patch_wanted = at::cat(labels);
      int64_t patches = patch_wanted.size(0) / tower.state.size(0);
      Tensor state = tower.state.slice(1, tower.state.size(1) - patches).flatten(0, 1);
      patch_logits = at::linear(state, patch_weight_, patch_bias_).to(at::kFloat);
    }
  }
  if (losses.loss.defined()) {
    total = losses.loss;
    result.loss = total.item<double>();
    result.kinds = count_answers(batch, prompts, losses.logits);
  }
  if (patch_logits.defined()) {
    Tensor patch = patch_loss(patch_logits, patch_wanted);
    result.patch_loss = patch.item<double>();
    result.patch_right = patch_accuracy(patch_logits, patch_wanted);
    total = total.defined() ? total + patch * stage.patch_loss : patch * stage.patch_loss;
  }
  std::vector<Tensor> inputs;
  for (const AdamW::Entry& entry : adam_->entries()) inputs.push_back(entry.value);
  result.gradients = torch::autograd::grad({total / static_cast<double>(stage.accumulate)}, inputs, {}, false,
                                           false, /*allow_unused=*/true);
  return result;
}

// Only for what the tower computes on the way.
void Trainer::encode_pictures(const std::vector<Prompt>& prompts) const {
  std::vector<Tensor> pixels;
  for (const Prompt& prompt : prompts)
    for (const MediaInput& media : prompt.media) pixels.push_back(media.pixel_values);
  MediaInput media;
  media.pixel_values = at::cat(pixels);
  as<Generator>(*model_.model)->encode(media);
}

// An answer is right when each of its tokens is the likeliest.
std::map<std::string, ExactMatch::Count> Trainer::count_answers(const BatchQueue::Batch& batch,
                                                                const std::vector<Prompt>& prompts,
                                                                const Tensor& logits) {
  std::map<std::string, ExactMatch::Count> kinds;
  std::vector<int64_t> likeliest = to_ids(logits.detach().argmax(1));
  size_t row = 0;
  for (size_t idx = 0; idx < batch.size(); ++idx) {
    const std::vector<int64_t>& labels = prompts[idx].labels;
    const std::vector<std::string>& names = batch[idx].kinds;
    size_t answer = 0;
    bool is_right = true, is_open = false;
    auto close = [&] {
      if (!is_open) return;
      ExactMatch::Count& count = kinds[answer < names.size() ? names[answer] : "answer"];
      ++count.asked, count.right += is_right;
      ++answer, is_open = false, is_right = true;
    };
    for (size_t at = 1; at < labels.size(); ++at) {
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

// The step's gradients, in the order of its passes whoever computed them.
double Trainer::compute_gradients(const StageRecipe& stage, BatchQueue& queue) {
  std::vector<Pass> passes(static_cast<size_t>(stage.accumulate));
  std::vector<BatchQueue::Batch> batches;
  for (int64_t at = 0; at < stage.accumulate; ++at) batches.push_back(queue.next());
  auto run = [&](int64_t at) {
    auto idx = static_cast<size_t>(at);
    passes[idx] = pass(stage, std::move(batches[idx]));
  };
  if (workers_)
    workers_->run(stage.accumulate, run);
  else
    for (int64_t at = 0; at < stage.accumulate; ++at) run(at);
  double loss = 0;
  for (Pass& done : passes) {
    adam_->add_gradients(done.gradients);
    loss += done.loss / static_cast<double>(stage.accumulate);
    window_.patch_loss += done.patch_loss / static_cast<double>(stage.accumulate);
    window_.tokens += done.tokens;
    window_.examples += done.examples;
    for (const auto& [kind, count] : done.kinds)
      window_.kinds[kind].asked += count.asked, window_.kinds[kind].right += count.right;
    window_.patch_right.resize(done.patch_right.size());
    window_.patch_asked.resize(done.patch_right.size());
    for (size_t field = 0; field < done.patch_right.size(); ++field)
      if (done.patch_right[field] >= 0) window_.patch_right[field] += done.patch_right[field], ++window_.patch_asked[field];
  }
  return loss;
}

void Trainer::log_window(const StageRecipe& stage, double lr) {
  double seconds = std::max(seconds_since(window_.start), 1e-9);
  auto steps = static_cast<double>(std::max<int64_t>(window_.steps, 1));
  result_.loss = window_.loss / steps;
  double left = seconds / steps * static_cast<double>(stage.steps - step_);
  std::string kinds, patches;
  ExactMatch::Count all;
  for (const auto& [kind, count] : window_.kinds) {
    kinds += fmt::format(" {} {:.0f}", kind, 100 * count.share());
    all.right += count.right, all.asked += count.asked;
  }
  for (size_t field = 0; field < window_.patch_right.size(); ++field)
    patches += fmt::format(" {:.0f}", 100 * window_.patch_right[field] /
                                          static_cast<double>(std::max<int64_t>(window_.patch_asked[field], 1)));
  std::string detail =
      fmt::format("loss {:.4f}, {:.0f} tokens/s, {:.0f} min left", result_.loss,
                  static_cast<double>(window_.tokens) / seconds, left / 60);
  report_progress({"training " + stage.name, static_cast<double>(step_), static_cast<double>(stage.steps),
                   "steps", detail});
  log(LogLevel::info,
      "{} {}/{}: {}, {:.1f} examples/s, lr {:.2e}, norm {:.2f}, answers {:.1f} % ({}){}", stage.name, step_,
      stage.steps, detail, static_cast<double>(window_.examples) / seconds, lr, window_.norm / steps,
      100 * all.share(), kinds.empty() ? "" : kinds.substr(1),
      patches.empty() ? "" : fmt::format(", patches {:.3f} ({})", window_.patch_loss / steps, patches.substr(1)));
  window_ = {};
}

void Trainer::evaluate(const StageRecipe& stage) {
  const auto* generator = as<Generator>(*model_.model);
  if (!generator || recipe_.source != "scenes") return;
  if (average_) average_->swap();
  ExactMatch match = evaluate_scenes(*generator, model_.checkpoint.tokens(), stage.data,
                                     recipe_.evaluate_questions, recipe_.seed + 7);
  if (average_) average_->swap();
  log(LogLevel::info, "{} {}: held-out questions {}", stage.name, step_, match.summary());
  window_.start = Clock::now();
}

void Trainer::save_state(int64_t stage_index) {
  TrainingState state;
  state.stage = stage_index;
  state.step = stage_index == stage_index_ ? step_ : 0;
  for (const Parameter& parameter : parameters_) state.parameters[parameter.name] = parameter.value;
  if (stage_index == stage_index_) {
    state.adam_steps = adam_->steps_done();
    for (const AdamW::Entry& entry : adam_->entries()) {
      state.first[entry.name] = entry.first;
      state.second[entry.name] = entry.second;
    }
    if (average_)
      for (size_t at = 0; at < average_names_.size(); ++at)
        state.averages[average_names_[at]] = average_->averages()[at];
  }
  save_training_state(recipe_.output, state);
}

// False when asked to stop.
bool Trainer::run_stage(const StageRecipe& stage) {
  int64_t first_pass = step_ * stage.accumulate;
  BatchQueue queue([&](int64_t index) { return make_batch(stage, index); }, first_pass,
                   static_cast<size_t>(4 + stage.accumulate));
  auto saved = Clock::now();
  window_ = {};
  while (step_ < stage.steps) {
    if (should_stop()) {
      save_state(stage_index_);
      return false;
    }
    adam_->zero_gradients();
    double loss = compute_gradients(stage, queue);
    double lr = stage.rate.at(step_);
    double norm = adam_->gradient_norm();
    if (adam_->step(lr)) {
      bad_steps_ = 0;
      if (average_) average_->update(adam_->steps_done());
      window_.loss += loss, window_.norm += norm, ++window_.steps;
    } else {
      log(LogLevel::warn, "{} step {}: gradients are not finite (loss {}); the step is left out", stage.name,
          step_, loss);
      if (++bad_steps_ >= kBadStepsMost)
        fail(ErrorKind::bad_request, "lower lr, or look at the data", "{} steps in a row without finite gradients",
             bad_steps_);
    }
    ++step_;
    if (step_ % kLogEvery == 0 || step_ == stage.steps) log_window(stage, lr);
    if (recipe_.evaluate_every > 0 && (step_ % recipe_.evaluate_every == 0 || step_ == stage.steps))
      evaluate(stage);
    if (seconds_since(saved) > recipe_.save_every_s) {
      save_state(stage_index_);
      saved = Clock::now();
    }
  }
  return true;
}

void Trainer::finish_stage() {
  if (average_) average_->swap();  // the averages are what the stage is for
  average_.reset();
  values_.clear();
  for (const Parameter& parameter : parameters_) values_[parameter.name] = parameter.value.detach();
  save_state(stage_index_ + 1);
}

TrainResult Trainer::run() {
  if (recipe_.workers > 1) workers_ = std::make_unique<Workers>(recipe_.workers);
  std::filesystem::create_directories(recipe_.output);
  if (options_.resume) {
    if (auto state = load_training_state(recipe_.output)) {
      loaded_ = std::move(*state);
      stage_index_ = loaded_.stage;
      step_ = loaded_.step;
      values_ = loaded_.parameters;
      log(LogLevel::info, "going on with stage {} at step {}", stage_index_ + 1, step_);
    }
  }
  auto num_stages = static_cast<int64_t>(recipe_.stages.size());
  bool ran = false;
  for (; stage_index_ < num_stages; ++stage_index_, step_ = 0) {
    const StageRecipe& stage = recipe_.stages[static_cast<size_t>(stage_index_)];
    open_stage(stage);
    ran = true;
    result_.stage = stage.name;
    bool is_done = run_stage(stage);
    result_.step = step_;
    if (!is_done) return result_;
    finish_stage();
  }
  if (!ran) open_stage(recipe_.stages.back());
  save_model(model_, recipe_.output, recipe_.save_dtype == "bfloat16" ? at::kBFloat16 : at::kFloat);
  result_.finished = true;
  return result_;
}

}  // namespace

TrainResult run_recipe(const Recipe& recipe, const TrainOptions& options) {
  // Moments of frozen-out features become denormal numbers, which are slow on x86.
  parallel_for(0, num_threads(), 1, [](int64_t, int64_t) { at::globalContext().setFlushDenormal(true); });
  return Trainer(recipe, options).run();
}

}  // namespace vlm
