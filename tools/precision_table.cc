// What bfloat16, int8 and int4 change, as docs/precision.md shows: for the default model, and for every
// reference case that generates or embeds:
//
//   build/bin/precision_table assets/default tests/cases > docs/precision.md
//
// The cases' weights are random and their layers narrow, so that single roundings weigh more than in a
// trained model of full width: the table compares systems and precisions, it does not foretell a benchmark.
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "engine/case.h"
#include "engine/decode.h"
#include "engine/verify.h"
#include "train/calibrate.h"
#include "train/evaluate.h"
#include "train/examples.h"
#include "train/save.h"

namespace {

using namespace vlm;

struct Outcome {
  Tensor rows;  // [n, K] logits or [n, D] embeddings
  bool are_logits = true;
};

// Logits of the whole prompt, or of each step of the reference's answer in encoder-decoder systems.
Outcome run_generator(const ReferenceCase& reference, const Generator& generator) {
  Prompt prompt = generator.prepare(reference.request);
  DecodeTimes times;
  std::vector<Tensor> features = encode_media(generator, prompt, nullptr, times);
  Sequence sequence;
  std::vector<Tensor> rows{generator.prefill(prompt, features, sequence, /*all_rows=*/true)};
  if (generator.is_encoder_decoder()) {
    std::vector<int64_t> ids = to_ids(reference.expected->load("generated_ids"));
    for (size_t step = 0; step + 1 < ids.size(); ++step)
      rows.push_back(generator.extend({{{ids[step]}, &sequence}}));
  }
  return {at::cat(rows), true};
}

Outcome run(const ReferenceCase& reference, Precision precision) {
  at::NoGradGuard no_grad;
  WeightsOptions options;
  options.precision = precision;
  std::string slug = reference.system.starts_with("block-") ? "" : reference.system;
  LoadedModel loaded = bind_model(Checkpoint::open(reference.folder / "checkpoint"), options, slug);
  if (const auto* generator = as<Generator>(*loaded.model)) return run_generator(reference, *generator);
  if (const auto* classifier = as<Classifier>(*loaded.model))
    return {classifier->class_logits(classifier->prepare_images(reference.request.images)), true};
  if (const auto* embedder = as<ImageEmbedder>(*loaded.model))
    return {embedder->embed_images(embedder->prepare_images(reference.request.images)), false};
  return {};
}

// Root mean square of the difference over that of the values.
double relative_error(const Tensor& found, const Tensor& wanted) {
  return ((found - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()).item<double>();
}

std::string cell(const Outcome& found, const Outcome& wanted) {
  double error = relative_error(found.rows, wanted.rows);
  if (error == 0) return "- | -";  // no layer is wide enough for groups of 32
  std::string text = fmt::format("{:.1f} %", 100 * error);
  if (!wanted.are_logits) return text + " | ";
  double same = found.rows.argmax(1).eq(wanted.rows.argmax(1)).to(at::kDouble).mean().item<double>();
  return text + fmt::format(" | {:.0f} %", 100 * same);
}

// --- the default model

constexpr uint64_t kQuestions = 20261123;  // as tests/default_model_test.cc asks them
constexpr uint64_t kConversations = 77, kCalibration = 78;
constexpr int64_t kPositions = 10000;
constexpr int64_t kCalibrationPictures = 64;

// A quantised checkpoint as the floats that it stands for.
class Dequantised final : public TensorSource {
 public:
  explicit Dequantised(std::shared_ptr<const TensorSource> source)
      : source_(std::move(source)), weights_(source_, {}) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> all;
    for (const std::string& name : source_->names())
      if (!is_beside(name)) all.push_back(name);
    return all;
  }
  bool has(const std::string& name) const override { return source_->has(name) && !is_beside(name); }
  TensorInfo info(const std::string& name) const override {
    TensorInfo info = source_->info(name);
    if (!source_->has(name + "_scale")) return info;
    if (info.dtype == at::kByte) info.shape.back() *= 2;
    info.dtype = at::kFloat;
    return info;
  }
  Tensor load(const std::string& name) const override {
    if (!source_->has(name + "_scale")) return source_->load(name);
    return dequantise(*weights_.take_quantised(name, info(name).shape));
  }
  std::string describe() const override { return source_->describe(); }

 private:
  bool is_beside(const std::string& name) const {
    for (std::string_view end : {"_scale", "_min"})
      if (name.ends_with(end) && source_->has(name.substr(0, name.size() - end.size()))) return true;
    return false;
  }
  std::shared_ptr<const TensorSource> source_;
  Weights weights_;
};

struct Variant {
  const char* name;
  std::filesystem::path folder;
  Precision precision;
};

// Next-token logits where an answer's tokens are predicted, float32 [n, K].
class Conversations {
 public:
  std::vector<Tensor> logits(const LoadedModel& loaded) const {
    const auto& generator = *as<Generator>(*loaded.model);
    data::DataOptions data;
    data.scene.split = data::Split::test;
    ExampleOptions options;
    options.seed = kConversations;
    auto examples = scene_examples(as<LanguageTrainable>(*loaded.model), data, options);
    std::vector<Tensor> rows;
    int64_t count = 0;
    for (int64_t idx = 0; count < kPositions; ++idx) {
      Prompt prompt = examples->make(idx).prompt;
      std::vector<Tensor> features;
      for (const MediaInput& media : prompt.media) features.push_back(generator.encode(media));
      Sequence sequence;
      Tensor all = generator.prefill(prompt, features, sequence, /*all_rows=*/true);
      std::vector<int64_t> places;
      for (size_t at = 0; at < prompt.labels.size() && count < kPositions; ++at)
        if (prompt.labels[at] != kIgnore) places.push_back(static_cast<int64_t>(at)), ++count;
      rows.push_back(all.index_select(0, at::tensor(places, at::kLong)));
    }
    return rows;
  }
};

struct Agreement {
  double divergence = 0;  // mean Kullback-Leibler divergence of next tokens, nats
  double same = 0;        // share of positions whose likeliest token stays
};

Agreement agreement(const std::vector<Tensor>& wanted, const std::vector<Tensor>& found) {
  Agreement sum;
  double count = 0;
  for (size_t idx = 0; idx < wanted.size(); ++idx) {
    Tensor p = at::log_softmax(wanted[idx].to(at::kDouble), 1),
           q = at::log_softmax(found[idx].to(at::kDouble), 1);
    sum.divergence += (p.exp() * (p - q)).sum().item<double>();
    sum.same += p.argmax(1).eq(q.argmax(1)).sum().to(at::kDouble).item<double>();
    count += static_cast<double>(p.size(0));
  }
  return {sum.divergence / count, sum.same / count};
}

LoadedModel bind(const Variant& variant) {
  WeightsOptions options;
  options.precision = variant.precision;
  return bind_model(Checkpoint::open(variant.folder), options);
}

void print_default_model(const std::filesystem::path& folder, const std::filesystem::path& scratch) {
  at::NoGradGuard no_grad;
  std::filesystem::path floats = scratch / "floats", stored = scratch / "stored",
                        calibrated = scratch / "calibrated", data = scratch / "data";
  {
    Checkpoint checkpoint = Checkpoint::open(folder);
    checkpoint.source = std::make_shared<Dequantised>(checkpoint.source);
    save_model(bind_model(std::move(checkpoint), {}), floats, at::kFloat);
  }
  data::make_dataset(data, kCalibrationPictures, kCalibration);
  auto importance = calibrate(Checkpoint::open(floats), Precision::f32, {.data = data / "data.json"});
  quantise_checkpoint(floats, stored, {.precision = Precision::int4});
  quantise_checkpoint(floats, calibrated, {.precision = Precision::int4, .importance = importance});

  const Variant variants[] = {
      {"f32", floats, Precision::f32},           {"bf16", floats, Precision::bf16},
      {"int8", floats, Precision::int8},         {"int4", floats, Precision::int4},
      {"int4, stored", stored, Precision::int4}, {"int4, stored, calibrated", calibrated, Precision::int4}};
  std::vector<Tensor> wanted;
  std::printf("| precision | questions right | KL divergence | same token |\n| --- | --- | --- | --- |\n");
  for (const Variant& variant : variants) {
    LoadedModel loaded = bind(variant);
    std::vector<Tensor> found = Conversations().logits(loaded);
    if (wanted.empty()) wanted = found;
    Agreement agrees = agreement(wanted, found);
    data::DataOptions questions;
    questions.scene.split = data::Split::test;
    ExactMatch match = evaluate_scenes(*as<Generator>(*loaded.model), loaded.checkpoint.tokens(), questions,
                                       1000, kQuestions);
    std::printf("| %s | %.1f %% | %.5f | %.2f %% |\n", variant.name, 100 * match.all.share(),
                agrees.divergence, 100 * agrees.same);
    std::fflush(stdout);
  }
}

constexpr char kIntroduction[] =
    "# bfloat16, int8 and int4 against float32\n\n"
    "Made by `tools/precision_table.cc`. Precision is that of the matrices of linear layers; int8 and int4 "
    "also\n"
    "round what these are multiplied by to 8 bits. int8 rotates both (speed.md), with a scale for 256 "
    "weights "
    "and\n"
    "one for 256 inputs (32 where 32 rows or fewer are multiplied); int4 has groups of 32, and rotates as "
    "well where\n"
    "more than 64 rows are multiplied and the machine has VNNI. Made on a machine that multiplies "
    "bfloat16 "
    "in\n"
    "pairs: beside weights of 16 bits or less, attention rounds queries, keys, values and weights to "
    "bfloat16, "
    "and\n"
    "many rows that bf16 matrices are multiplied by are rounded, too.\n\n"
    "## The default model\n\n"
    "A trained model, if a small one: 192 wide, so that every rounding weighs more than in a large one. It "
    "is\n"
    "published in 8 bits; f32 are the floats that these stand for, and the others are made from those. "
    "Questions:\n"
    "the 1,000 held-out ones of `tests/default_model_test.cc`, answered exactly right. KL divergence (nats, "
    "mean)\n"
    "and the share of positions whose likeliest token stays the same: next tokens at 10,000 positions of "
    "answers\n"
    "to other held-out questions. Stored: what `vlm quantize` writes, where embeddings have 4 bits as well.\n"
    "Calibrated: with `--calibrate` and 64 drawn pictures.\n\n";
constexpr char kCasesIntroduction[] =
    "\n## Reference cases\n\n"
    "Error: root mean square of the difference in the logits of every position (embeddings, class logits),\n"
    "relative to the values; same: positions whose likeliest token stays the same. The cases' weights are "
    "random\n"
    "and their layers a few dozen wide, where every rounding weighs more, and random logits lie close "
    "together:\n"
    "the table compares systems and precisions, it does not foretell a benchmark. bfloat16 rounds every "
    "weight to\n"
    "8 bits of mantissa: what it changes is what a case's random layers make of any small difference. \"-\": "
    "no layer\n"
    "of the case is wide enough for groups of 32.\n\n"
    "| case | bf16: error | same | int8: error | same | int4: error | same |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n";

void print_cases(const char* folder) {
  for (const auto& place : find_cases({folder})) {
    ReferenceCase reference = ReferenceCase::read(place);
    if (reference.task == "train" || reference.task == "choose") continue;
    Outcome wanted = run(reference, Precision::f32);
    if (!wanted.rows.defined()) continue;
    std::string row = "| " + place.filename().string();
    for (Precision precision : {Precision::bf16, Precision::int8, Precision::int4})
      row += " | " + cell(run(reference, precision), wanted);
    std::printf("%s |\n", row.c_str());
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: precision_table DEFAULT_MODEL FOLDER_OF_CASES\n");
    return 2;
  }
  std::filesystem::path scratch =
      std::filesystem::temp_directory_path() / fmt::format("precision-table-{}", ::getpid());
  int status = 0;
  try {
    std::printf("%s", kIntroduction);
    print_default_model(argv[1], scratch);
    std::printf("%s", kCasesIntroduction);
    print_cases(argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "precision_table: %s\n", error.what());
    status = 1;
  }
  std::error_code ignored;
  std::filesystem::remove_all(scratch, ignored);
  return status;
}
