#include "train/calibrate.h"

#include <algorithm>

#include "base/log.h"
#include "media/image.h"
#include "nn/input_statistics.h"
#include "train/evaluate.h"
#include "train/examples.h"

namespace vlm {

namespace {

namespace fs = std::filesystem;

constexpr char kQuestion[] = "Describe this picture in detail.";
constexpr int64_t kAnswer_tokens = 32;

void report(int64_t done, int64_t total) {
  report_progress({"calibrating", static_cast<double>(done), static_cast<double>(total), "examples", ""});
}

std::vector<fs::path> pictures_in(const fs::path& folder, int64_t count) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && !entry.path().filename().string().starts_with("."))
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (files.empty())
    fail(ErrorKind::bad_request, "name a folder of pictures, or a list in LLaVA's format",
         "{}: no files to calibrate with", folder.string());
  if (static_cast<int64_t>(files.size()) > count) files.resize(static_cast<size_t>(count));
  return files;
}

// The picture shown, and a description written.
void run_on(const LoadedModel& loaded, Image image) {
  if (const auto* generator = as<Generator>(*loaded.model)) {
    Request request;
    request.images.push_back(std::move(image));
    request.messages.push_back(
        {"user", {{ContentPart::Kind::image, ""}, {ContentPart::Kind::text, kQuestion}}});
    answer_greedily(*generator, loaded.checkpoint.tokens(), {request}, kAnswer_tokens);
  } else if (const auto* embedder = as<ImageEmbedder>(*loaded.model)) {
    embedder->embed_images(embedder->prepare_images({std::move(image)}));
    if (const auto* texts = as<TextEmbedder>(*loaded.model))
      texts->embed_texts(texts->prepare_texts({kQuestion}));
  } else if (const auto* classifier = as<Classifier>(*loaded.model)) {
    classifier->class_logits(classifier->prepare_images({std::move(image)}));
  } else {
    fail(ErrorKind::unsupported, "leave --calibrate out", "{} takes no pictures", loaded.checkpoint.name);
  }
}

void run_on_folder(const LoadedModel& loaded, const CalibrationOptions& options) {
  std::vector<fs::path> files = pictures_in(options.data, options.count);
  for (size_t idx = 0; idx < files.size(); ++idx) {
    report(static_cast<int64_t>(idx), static_cast<int64_t>(files.size()));
    with_context(files[idx].string(), [&] { run_on(loaded, read_image(files[idx])); });
  }
}

void run_on_list(const LoadedModel& loaded, const CalibrationOptions& options) {
  const auto* generator = as<Generator>(*loaded.model);
  const auto* trainable = as<LanguageTrainable>(*loaded.model);
  if (!generator || !trainable)
    fail(ErrorKind::unsupported, "name a folder of pictures",
         "{} does not answer questions: there is nothing to do with a list of them", loaded.checkpoint.name);
  auto examples = list_examples(trainable, options.data, options.data.parent_path(), {});
  int64_t count = std::min(options.count, examples->size());
  for (int64_t idx = 0; idx < count; ++idx) {
    report(idx, count);
    Prompt prompt = examples->make(idx).prompt;
    std::vector<Tensor> features;
    for (const MediaInput& media : prompt.media) features.push_back(generator->encode(media));
    Sequence sequence;
    generator->prefill(prompt, features, sequence, /*all_rows=*/false);
  }
}

}  // namespace

std::map<std::string, Tensor> calibrate(Checkpoint checkpoint, Precision precision,
                                        const CalibrationOptions& options) {
  at::NoGradGuard no_grad;
  auto statistics = std::make_shared<nn::InputStatistics>();
  WeightsOptions weights;
  weights.precision = precision;
  weights.statistics = statistics;
  LoadedModel loaded = bind_model(std::move(checkpoint), weights);
  if (fs::is_directory(options.data))
    run_on_folder(loaded, options);
  else
    run_on_list(loaded, options);
  return statistics->means();
}

}  // namespace vlm
