#include "train/train.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/parallel.h"
#include "ops/rounded_linear.h"
#include "system/gguf_checkpoint.h"
#include "tensor/spare_tensors.h"
#include "train/initial_source.h"
#include "train/objective.h"
#include "train/save.h"
#include "train/training_state.h"
#include "train/workers.h"

namespace vlm {

namespace {

constexpr int64_t kLogEvery = 20;      // steps
constexpr int64_t kMostBadSteps = 50;  // in a row, before training gives up
constexpr size_t kBatchesAhead = 4;

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// What happened since the last line of the log.
struct Window {
  double loss = 0, patch_loss = 0, word_loss = 0, norm = 0;
  int64_t steps = 0, tokens = 0, examples = 0;
  std::map<std::string, ExactMatch::Count> kinds;
  std::vector<double> patch_right;
  std::vector<int64_t> patch_passes;
  std::array<double, 2> gaze_mass = {};
  std::array<int64_t, 2> gazes = {};
  Clock::time_point start = Clock::now();

  void add(const PassResult& pass, double share) {
    patch_loss += pass.patch_value * share;
    word_loss += pass.word_value * share;
    for (size_t part = 0; part < gazes.size(); ++part)
      gaze_mass[part] += pass.gaze_mass[part], gazes[part] += pass.gazes[part];
    tokens += pass.tokens;
    examples += pass.examples;
    for (const auto& [kind, count] : pass.kinds)
      kinds[kind].asked += count.asked, kinds[kind].right += count.right;
    patch_right.resize(pass.patch_right.size());
    patch_passes.resize(pass.patch_right.size());
    for (size_t field = 0; field < pass.patch_right.size(); ++field)
      if (pass.patch_right[field] >= 0) patch_right[field] += pass.patch_right[field], ++patch_passes[field];
  }

  std::string answers() const {
    if (kinds.empty()) return "";
    ExactMatch match;
    match.by_kind = kinds;
    for (const auto& [kind, count] : kinds) match.all.right += count.right, match.all.asked += count.asked;
    return ", right " + match.summary();
  }

  std::string looks() const {
    if (gazes[0] + gazes[1] == 0) return "";
    auto share = [&](size_t part) {
      return 100 * gaze_mass[part] / static_cast<double>(std::max<int64_t>(gazes[part], 1));
    };
    return fmt::format(", looks of phrases {:.0f} %, of answers {:.0f} %", share(0), share(1));
  }

  std::string patches() const {
    if (patch_right.empty()) return "";
    std::string shares;
    for (size_t field = 0; field < patch_right.size(); ++field)
      shares += fmt::format(" {:.0f}", 100 * patch_right[field] /
                                           static_cast<double>(std::max<int64_t>(patch_passes[field], 1)));
    auto per_step = [&](double sum) { return sum / static_cast<double>(std::max<int64_t>(steps, 1)); };
    return fmt::format(", words {:.3f}, patches {:.3f} (right{} %)", per_step(word_loss),
                       per_step(patch_loss), shares);
  }
};

class Trainer {
 public:
  Trainer(const Recipe& recipe, const TrainOptions& options) : recipe_(recipe), options_(options) {
    if (recipe_.workers > 1) workers_ = std::make_unique<Workers>(recipe_.workers);
  }
  TrainResult run();

 private:
  void open_stage(const StageRecipe& stage);
  bool trains(const StageRecipe& stage, const std::string& name) const;
  bool is_listed(const std::vector<std::string>& list, const std::string& name) const;
  void make_optimizer(const StageRecipe& stage);
  bool run_stage(const StageRecipe& stage);
  double compute_gradients(const StageRecipe& stage, BatchQueue& queue);
  void report(const StageRecipe& stage, double lr);
  void evaluate(const StageRecipe& stage);
  void save_state();
  void finish_stage(const StageRecipe& stage);
  void add_adapted_matrices();
  bool should_stop() const {
    return (options_.stop && *options_.stop) || (options_.max_steps > 0 && steps_run_ >= options_.max_steps);
  }

  Recipe recipe_;
  TrainOptions options_;
  TrainResult result_;
  LoadedModel model_;
  LanguageTrainable::PartNames parts_;
  std::unique_ptr<Objective> objective_;
  std::vector<Parameter> parameters_;  // of the model, and the objective's own
  std::unique_ptr<AdamW> adam_;
  std::unique_ptr<AveragedWeights> average_;  // of the optimizer's entries
  std::unique_ptr<Workers> workers_;
  std::map<std::string, Tensor> values_;  // of parameters, when a stage begins
  TrainingState loaded_;                  // of a stopped run, until its stage has taken it
  int64_t stage_index_ = 0, step_ = 0, steps_run_ = 0, bad_steps_ = 0;
  Window window_;
};

bool Trainer::is_listed(const std::vector<std::string>& list, const std::string& name) const {
  const char* part = glob_matches(parts_.connector, name) ? "connector"
                     : glob_matches(parts_.vision, name)  ? "vision"
                                                          : "language";
  return std::any_of(list.begin(), list.end(),
                     [&](const std::string& item) { return item == part || glob_matches(item, name); });
}

bool Trainer::trains(const StageRecipe& stage, const std::string& name) const {
  if (is_adapter(name)) return stage.lora.rank > 0;
  for (const Parameter& own : objective_->own_parameters())
    if (own.name == name) return true;
  bool is_adapted = std::any_of(parameters_.begin(), parameters_.end(), [&](const Parameter& other) {
    return is_adapter(other.name) && adapted_name(other.name) == name;
  });
  return !is_adapted && is_listed(stage.trains, name) && !is_listed(stage.freezes, name);
}

// Every stage binds the model anew, from the values that the one before left: adapters come and go.
void Trainer::open_stage(const StageRecipe& stage) {
  Checkpoint checkpoint = recipe_.from_scratch ? Checkpoint::open_without_weights(recipe_.model_folder)
                                               : Checkpoint::open(recipe_.model_folder);
  if (!values_.empty())
    checkpoint.source = overlaid_source(checkpoint.source, values_, kOwnPrefix);
  else if (recipe_.from_scratch)
    checkpoint.source = initial_source(recipe_.seed, checkpoint.config);
  WeightsOptions options;
  options.trainable = true;
  if (stage.precision == "bfloat16") {
    options.precision = Precision::bf16;
    if (!ops::has_fast_bfloat16())
      log(LogLevel::warn,
          "stage {}: this processor multiplies bfloat16 no faster than float32; products are rounded all the "
          "same",
          stage.name);
  }
  options.lora = stage.lora;
  model_ = bind_model(std::move(checkpoint), options, recipe_.system);
  parts_ = part_names_of(*model_.model);
  objective_ = make_objective(recipe_, stage, stage_index_, model_, values_);
  parameters_ = model_.weights->parameters();
  for (const Parameter& own : objective_->own_parameters()) parameters_.push_back(own);
  make_optimizer(stage);
}

void Trainer::make_optimizer(const StageRecipe& stage) {
  std::vector<AdamW::Entry> entries;
  std::vector<Tensor> values;
  int64_t all = 0, trained = 0;
  for (const Parameter& parameter : parameters_) {
    Tensor value = parameter.value;
    value.set_requires_grad(trains(stage, parameter.name));
    all += value.numel();
    if (!value.requires_grad()) continue;
    trained += value.numel();
    AdamW::Entry entry;
    entry.name = parameter.name;
    entry.value = value;
    entry.decays = decays_by_default(parameter.name, value);
    for (const auto& [pattern, factor] : stage.lr_scale)
      if (is_listed({pattern}, parameter.name)) entry.lr_scale *= factor;
    auto moment = [&](const std::map<std::string, Tensor>& moments) {
      auto found = moments.find(parameter.name);
      return found != moments.end() && found->second.sizes() == value.sizes() ? found->second : Tensor();
    };
    entry.first = moment(loaded_.first);
    entry.second = moment(loaded_.second);
    entries.push_back(std::move(entry));
    values.push_back(value);
  }
  if (entries.empty())
    fail(ErrorKind::bad_request, "parts are vision, connector and language; patterns match published names",
         "stage {} trains nothing", stage.name);
  adam_ = std::make_unique<AdamW>(std::move(entries), stage.adam);
  adam_->set_steps_done(loaded_.adam_steps);
  average_.reset();
  if (stage.average > 0) {
    average_ = std::make_unique<AveragedWeights>(values, stage.average);
    for (size_t at = 0; at < values.size(); ++at) {
      auto found = loaded_.averages.find(adam_->entries()[at].name);
      if (found != loaded_.averages.end() && found->second.sizes() == values[at].sizes())
        average_->averages()[at].copy_(found->second);
    }
  }
  loaded_ = {};
  log(LogLevel::info, "stage {}: {} steps of {} examples, {:.2f} of {:.2f} million parameters", stage.name,
      stage.steps, stage.batch * stage.accumulate, static_cast<double>(trained) / 1e6,
      static_cast<double>(all) / 1e6);
}

// The step's gradients, added in the order of its passes whoever computed them; returns their mean loss.
double Trainer::compute_gradients(const StageRecipe& stage, BatchQueue& queue) {
  auto num_passes = static_cast<size_t>(stage.accumulate);
  double share = 1 / static_cast<double>(stage.accumulate);
  std::vector<Tensor> inputs;
  for (const AdamW::Entry& entry : adam_->entries()) inputs.push_back(entry.value);
  std::vector<TrainingBatch> batches;
  while (batches.size() < num_passes) batches.push_back(queue.next());
  std::vector<PassResult> passes(num_passes);
  std::vector<std::vector<Tensor>> gradients(num_passes);
  auto run = [&](int64_t at) {
    auto idx = static_cast<size_t>(at);
    passes[idx] = objective_->run(std::move(batches[idx]));
    gradients[idx] =
        torch::autograd::grad({passes[idx].loss * share}, inputs, {}, false, false, /*allow_unused=*/true);
    passes[idx].loss = Tensor();
  };
  if (workers_)
    workers_->run(stage.accumulate, run);
  else
    for (int64_t at = 0; at < stage.accumulate; ++at) run(at);
  double loss = 0;
  adam_->zero_gradients();
  for (size_t idx = 0; idx < num_passes; ++idx) {
    adam_->add_gradients(gradients[idx]);
    loss += passes[idx].value * share;
    window_.add(passes[idx], share);
  }
  return loss;
}

void Trainer::report(const StageRecipe& stage, double lr) {
  double seconds = std::max(seconds_since(window_.start), 1e-9);
  auto steps = static_cast<double>(std::max<int64_t>(window_.steps, 1));
  result_.loss = window_.loss / steps;
  double minutes = seconds / steps * static_cast<double>(stage.steps - step_) / 60;
  std::string detail = fmt::format("loss {:.4f}, {:.0f} tokens/s, {:.0f} min left", result_.loss,
                                   static_cast<double>(window_.tokens) / seconds, minutes);
  report_progress({"training " + stage.name, static_cast<double>(step_), static_cast<double>(stage.steps),
                   "steps", detail});
  log(LogLevel::info, "{} {}/{}: {}, {:.1f} examples/s, lr {:.2e}, norm {:.2f}{}{}{}", stage.name, step_,
      stage.steps, detail, static_cast<double>(window_.examples) / seconds, lr, window_.norm / steps,
      window_.answers(), window_.looks(), window_.patches());
  window_ = {};
}

void Trainer::evaluate(const StageRecipe& stage) {
  const auto* generator = as<Generator>(*model_.model);
  if (!generator || recipe_.source != "scenes" || stage.objective != "answers") return;
  constexpr uint64_t kApart = 7;  // from the seeds of training
  auto start = Clock::now();
  if (average_) average_->swap();
  ExactMatch match = evaluate_scenes(*generator, model_.checkpoint.tokens(), stage.data,
                                     recipe_.evaluate_questions, recipe_.seed + kApart);
  if (average_) average_->swap();
  log(LogLevel::info, "{} {}: held-out questions {}", stage.name, step_, match.summary());
  window_.start += Clock::now() - start;
}

void Trainer::save_state() {
  TrainingState state;
  state.stage = stage_index_;
  state.step = step_;
  state.adam_steps = adam_->steps_done();
  for (const Parameter& parameter : parameters_) state.parameters[parameter.name] = parameter.value;
  for (size_t at = 0; at < adam_->entries().size(); ++at) {
    const AdamW::Entry& entry = adam_->entries()[at];
    state.first[entry.name] = entry.first;
    state.second[entry.name] = entry.second;
    if (average_) state.averages[entry.name] = average_->averages()[at];
  }
  save_training_state(recipe_.output, state);
}

// False when asked to stop.
bool Trainer::run_stage(const StageRecipe& stage) {
  BatchQueue queue(*objective_, step_ * stage.accumulate,
                   kBatchesAhead + static_cast<size_t>(stage.accumulate));
  auto saved = Clock::now();
  window_ = {};
  while (step_ < stage.steps) {
    if (should_stop()) {
      save_state();
      return false;
    }
    double loss = compute_gradients(stage, queue);
    double lr = stage.rate.at(step_);
    ++step_, ++steps_run_;
    if (adam_->step(lr)) {
      bad_steps_ = 0;
      if (average_) average_->update(adam_->steps_done());
      window_.loss += loss, window_.norm += adam_->last_norm(), ++window_.steps;
    } else {
      log(LogLevel::warn, "{} step {}: gradients are not finite (loss {}); the step is left out", stage.name,
          step_, loss);
      if (++bad_steps_ >= kMostBadSteps)
        fail(ErrorKind::bad_request, "lower lr, or look at the data",
             "stage {}: {} steps in a row without finite gradients", stage.name, bad_steps_);
    }
    bool is_last = step_ == stage.steps;
    if (step_ % kLogEvery == 0 || is_last) report(stage, lr);
    if (recipe_.evaluate_every > 0 && (step_ % recipe_.evaluate_every == 0 || is_last)) evaluate(stage);
    if (seconds_since(saved) > recipe_.save_every_s) {
      save_state();
      saved = Clock::now();
    }
  }
  return true;
}

// Leaves the stage's weights to the next one: the averages where there are any, adapters merged.
// Quantised matrices are no parameters; with an adapter merged into them they are floats from then on.
void Trainer::add_adapted_matrices() {
  Weights stored(model_.checkpoint.source, {});
  for (const Parameter& parameter : parameters_) {
    if (!parameter.name.ends_with("lora_B.weight")) continue;
    std::string name = adapted_name(parameter.name),
                stem = name.substr(0, name.size() - std::string_view("weight").size());
    if (values_.count(name)) continue;
    Shape shape{parameter.value.size(0), values_.at(stem + "lora_A.weight").size(1)};
    if (auto matrix = stored.take_quantised(name, shape)) values_[name] = dequantise(*matrix);
  }
}

void Trainer::finish_stage(const StageRecipe& stage) {
  if (average_) average_->swap();
  average_.reset();
  values_.clear();
  for (const Parameter& parameter : parameters_) values_[parameter.name] = parameter.value.detach();
  if (stage.lora.rank > 0) {
    save_adapters(values_, stage.lora, recipe_.output / ("adapter-" + stage.name));
    add_adapted_matrices();
    merge_adapters(values_, stage.lora);
  }
  TrainingState state;
  state.stage = stage_index_ + 1;
  state.parameters = values_;
  save_training_state(recipe_.output, state);
}

TrainResult Trainer::run() {
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
  for (; stage_index_ < num_stages; ++stage_index_, step_ = 0) {
    const StageRecipe& stage = recipe_.stages[static_cast<size_t>(stage_index_)];
    with_context("stage " + stage.name, [&] { open_stage(stage); });
    result_.stage = stage.name;
    bool is_done = with_context("stage " + stage.name, [&] { return run_stage(stage); });
    result_.step = step_;
    if (!is_done) return result_;
    finish_stage(stage);
  }
  Checkpoint checkpoint = recipe_.from_scratch ? Checkpoint::open_without_weights(recipe_.model_folder)
                                               : Checkpoint::open(recipe_.model_folder);
  checkpoint.source = overlaid_source(checkpoint.source, values_, kOwnPrefix);
  LoadedModel finished = bind_model(std::move(checkpoint), {}, recipe_.system);
  save_model(finished, recipe_.output, recipe_.save_dtype == "bfloat16" ? at::kBFloat16 : at::kFloat);
  result_.finished = true;
  return result_;
}

}  // namespace

TrainResult run_recipe(const Recipe& recipe, const TrainOptions& options) {
  need_other_than_gguf(recipe.model_folder);
  SpareTensors spare;
  // Moments of features that no example uses become denormal numbers, which are slow on x86.
  on_every_thread([] { at::globalContext().setFlushDenormal(true); });
  return Trainer(recipe, options).run();
}

}  // namespace vlm
