// What int8 and int4 change, for every reference case that generates or embeds, as docs/precision.md shows:
//
//   build/bin/precision_table tests/cases > docs/precision.md
//
// The cases' weights are random and their layers narrow, so that single roundings weigh more than in a
// trained model of full width: the table compares systems and precisions, it does not foretell a benchmark.
#include <cstdio>

#include "engine/case.h"
#include "engine/decode.h"
#include "engine/verify.h"

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
  if (error == 0) return "- | -";  // no layer's width is a multiple of 32
  std::string text = fmt::format("{:.1f} %", 100 * error);
  if (!wanted.are_logits) return text + " | ";
  double same = found.rows.argmax(1).eq(wanted.rows.argmax(1)).to(at::kDouble).mean().item<double>();
  return text + fmt::format(" | {:.0f} %", 100 * same);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: precision_table FOLDER_OF_CASES\n");
    return 2;
  }
  std::printf(
      "# int8 and int4 against float32\n\n"
      "Made by `tools/precision_table.cc` from the reference cases. Error: root mean square of the "
      "difference in the logits of "
      "every\nposition (embeddings, class logits), relative to the values; same: positions whose likeliest "
      "token stays the "
      "same. The cases' weights\nare random and their layers a few dozen wide, where every rounding weighs "
      "more, and random "
      "logits lie close together: the table compares\nsystems and precisions. What quantising costs a "
      "trained model is "
      "measured on the default model (docs/default-model.md). bfloat16 rounds every weight to 8 bits of "
      "mantissa: what it changes "
      "is what a\ncase's random layers make of any small difference. \"-\": no layer of the case has a width "
      "that is a multiple of "
      "32.\n\n"
      "| case | bf16: error | same | int8: error | same | int4: error | same |\n"
      "| --- | --- | --- | --- | --- | --- | --- |\n");
  try {
    for (const auto& folder : find_cases({argv[1]})) {
      ReferenceCase reference = ReferenceCase::read(folder);
      if (reference.task == "train" || reference.task == "choose") continue;
      Outcome wanted = run(reference, Precision::f32);
      if (!wanted.rows.defined()) continue;
      std::string row = "| " + folder.filename().string();
      for (Precision precision : {Precision::bf16, Precision::int8, Precision::int4})
        row += " | " + cell(run(reference, precision), wanted);
      std::printf("%s |\n", row.c_str());
      std::fflush(stdout);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "precision_table: %s\n", error.what());
    return 1;
  }
}
