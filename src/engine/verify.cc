#include "engine/verify.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/case.h"
#include "engine/decode.h"

namespace vlm {

namespace {

using Tensors = std::map<std::string, Tensor>;

// Intermediates in the order they were computed.
class Recorder final : public trace::Sink {
 public:
  void record(const std::string& name, const Tensor& tensor) override {
    points_.emplace_back(name, tensor.detach());
  }
  const std::vector<std::pair<std::string, Tensor>>& points() const { return points_; }

 private:
  std::vector<std::pair<std::string, Tensor>> points_;
};

// --- running

void run_generate(const ReferenceCase& reference, const Generator& generator, Tensors& computed) {
  Prompt prompt = generator.prepare(reference.request);
  if (reference.rendered_prompt && prompt.text != *reference.rendered_prompt)
    fail(ErrorKind::internal, "", "the chat template gave \"{}\", expected \"{}\"", prompt.text,
         *reference.rendered_prompt);
  computed["input_ids"] = ids_tensor(prompt.ids);
  std::vector<Tensor> pixels;
  for (const MediaInput& media : prompt.media) pixels.push_back(media.pixel_values);
  if (!pixels.empty()) computed["pixel_values"] = at::cat(pixels);
  DecodeTimes times;
  std::vector<Tensor> features = encode_media(generator, prompt, nullptr, times);
  if (!features.empty()) computed["image_features"] = at::cat(features);
  Sequence sequence;
  computed["logits"] = generator.prefill(prompt, features, sequence, /*all_rows=*/true);
  Memory memory;
  DecodeOptions options;
  options.max_new_tokens = reference.max_new_tokens;
  options.eos_ids = generator.eos_ids();
  DecodeResult result = decode(generator, prompt, memory, nullptr, options);
  if (result.finish == Finish::eos) {  // the reference keeps the end token it stopped at
    Tensor expected = reference.expected->load("generated_ids");
    int64_t last = expected[expected.numel() - 1].item<int64_t>();
    if (std::find(options.eos_ids.begin(), options.eos_ids.end(), last) != options.eos_ids.end())
      result.ids.push_back(last);
  }
  computed["generated_ids"] = ids_tensor(result.ids);
}

void run_embed(const ReferenceCase& reference, const Embedder& embedder, Tensors& computed) {
  computed["pixel_values"] = embedder.prepare_images(reference.request.images);
  computed["input_ids"] = embedder.prepare_texts(reference.texts);
  computed["image_embeds"] = embedder.embed_images(computed["pixel_values"]);
  computed["text_embeds"] = embedder.embed_texts(computed["input_ids"]);
  computed["logits_per_image"] = embedder.logits_per_image(computed["image_embeds"], computed["text_embeds"]);
}

void run_classify(const ReferenceCase& reference, const Classifier& classifier, Tensors& computed) {
  computed["pixel_values"] = classifier.prepare_images(reference.request.images);
  computed["class_logits"] = classifier.class_logits(computed["pixel_values"]);
  computed["labels"] = computed["class_logits"].argmax(-1);
}

void add_gradients(const LoadedModel& loaded, const Tensor& loss, Tensors& computed) {
  loss.backward();
  computed["loss"] = loss.detach();
  for (const Parameter& parameter : loaded.weights->parameters())
    if (parameter.value.grad().defined()) computed["grad/" + parameter.name] = parameter.value.grad();
}

void run_train(const ReferenceCase& reference, const LoadedModel& loaded, Tensors& computed) {
  at::AutoGradMode with_gradients(true);
  if (const auto* embedder = as<Embedder>(*loaded.model)) {
    run_embed(reference, *embedder, computed);
    add_gradients(loaded, embedder->contrastive_loss(computed["logits_per_image"]), computed);
    return;
  }
  const auto* trainable = as<LanguageTrainable>(*loaded.model);
  if (!trainable) fail(ErrorKind::unsupported, "", "{} cannot be trained", loaded.system->slug);
  Prompt example = trainable->prepare_example(reference.request);
  computed["input_ids"] = ids_tensor(example.ids);
  computed["labels"] = ids_tensor(example.labels);
  std::vector<Tensor> pixels;
  for (const MediaInput& media : example.media) pixels.push_back(media.pixel_values);
  if (!pixels.empty()) computed["pixel_values"] = at::cat(pixels);
  LanguageTrainable::Losses losses = trainable->loss({example}, /*all_logits=*/true);
  computed["logits"] = losses.logits;
  add_gradients(loaded, losses.loss, computed);
}

void run(const ReferenceCase& reference, const LoadedModel& loaded, Tensors& computed) {
  at::NoGradGuard no_grad;
  auto lacks = [&](const char* what) {
    fail(ErrorKind::unsupported, "", "{} has no {}, which task {} needs", loaded.system->slug, what,
         reference.task);
  };
  if (reference.task == "generate") {
    const auto* generator = as<Generator>(*loaded.model);
    if (!generator) lacks("generator");
    run_generate(reference, *generator, computed);
  } else if (reference.task == "embed") {
    const auto* embedder = as<Embedder>(*loaded.model);
    if (!embedder) lacks("embedder");
    run_embed(reference, *embedder, computed);
  } else if (reference.task == "classify") {
    const auto* classifier = as<Classifier>(*loaded.model);
    if (!classifier) lacks("classifier");
    run_classify(reference, *classifier, computed);
  } else if (reference.task == "train") {
    run_train(reference, loaded, computed);
  } else {
    fail(ErrorKind::unsupported, "", "task \"{}\" is not known (generate, embed, classify, train)",
         reference.task);
  }
}

// --- comparing

std::string place_of(int64_t flat, at::IntArrayRef shape) {
  std::string text;
  for (int64_t axis = static_cast<int64_t>(shape.size()) - 1; axis >= 0; --axis) {
    int64_t size = shape[static_cast<size_t>(axis)];
    text = std::to_string(flat % size) + (text.empty() ? "" : ", " + text);
    flat /= size;
  }
  return "[" + text + "]";
}

TensorCheck compare(const ReferenceCase::Check& check, const Tensor& found, const Tensor& wanted) {
  TensorCheck result;
  result.tensor = check.tensor, result.exact = check.exact, result.atol = check.atol, result.rtol = check.rtol;
  if (!found.defined()) {
    result.detail = "was not computed";
    return result;
  }
  if (found.sizes() != wanted.sizes()) {
    result.detail =
        fmt::format("shape {}, expected {}", shape_text(found.sizes()), shape_text(wanted.sizes()));
    return result;
  }
  if (wanted.numel() == 0) {
    result.passed = true;
    return result;
  }
  Tensor got = found.detach().to(at::kDouble), want = wanted.to(at::kDouble);
  Tensor error = (got - want).abs();
  Tensor excess = check.exact ? error : error - (want.abs() * check.rtol + check.atol);
  excess = excess.masked_fill(error.isnan(), HUGE_VAL);  // NaN is never right, even where both have it
  int64_t worst = excess.argmax().item<int64_t>();
  auto value = [&](const Tensor& tensor) { return tensor.reshape({-1})[worst].item<double>(); };
  result.largest_error = value(error);
  result.passed = value(excess) <= 0;
  if (!result.passed)
    result.detail = fmt::format("at {}: found {:.7g}, expected {:.7g}", place_of(worst, wanted.sizes()),
                                value(got), value(want));
  return result;
}

// The reference's names for an intermediate: ours are hidden/vision/3 (output of layer 3) and hidden/text/3.
std::vector<std::string> names_in_reference(const std::string& point) {
  size_t slash = point.rfind('/');
  std::string place = point.substr(0, slash), idx = point.substr(slash + 1);
  if (idx.empty() ||
      !std::all_of(idx.begin(), idx.end(), [](unsigned char letter) { return std::isdigit(letter); }))
    return {point};
  std::string next = std::to_string(std::stoll(idx) + 1);
  if (place == "hidden/vision")
    return {"hidden/vision_layer" + idx, "hidden/vision" + next, "hidden/layer" + next};
  if (place == "hidden/text")
    return {"hidden/language_layer" + idx, "hidden/text" + next, "hidden/layer" + next};
  return {point};
}

std::string find_first_difference(const Recorder& recorder, const TensorSource& expected) {
  for (const auto& [point, found] : recorder.points()) {
    for (const std::string& name : names_in_reference(point)) {
      if (!expected.has(name)) continue;
      Tensor wanted = expected.load(name);
      if (wanted.numel() != found.numel()) continue;
      double scale = wanted.abs().max().item<double>();
      TensorCheck check =
          compare({name, false, 1e-4 * std::max(scale, 1e-3), 1e-3}, found.reshape(wanted.sizes()), wanted);
      if (!check.passed)
        return fmt::format("{} ({}): error {:.3g}, {}", name, point, check.largest_error, check.detail);
    }
  }
  return "";
}

}  // namespace

bool CaseReport::passed() const {
  return error.empty() && !checks.empty() &&
         std::all_of(checks.begin(), checks.end(), [](const TensorCheck& check) { return check.passed; });
}

CaseReport verify_case(const std::filesystem::path& folder, const WeightsOptions& options) {
  CaseReport report;
  report.name = std::filesystem::weakly_canonical(folder).filename().string();
  Recorder recorder;
  Tensors computed;
  try {
    ReferenceCase reference = ReferenceCase::read(folder);
    report.system = reference.system;
    report.task = reference.task;
    WeightsOptions adjusted = options;
    adjusted.trainable = reference.task == "train";
    // Building blocks are no rows of the list; their own config tells what they are.
    std::string slug = reference.system.starts_with("block-") ? "" : reference.system;
    LoadedModel loaded = bind_model(Checkpoint::open(folder / "checkpoint"), adjusted, slug);
    {
      trace::Scope scope(&recorder);
      run(reference, loaded, computed);
    }
    for (const ReferenceCase::Check& check : reference.checks)
      report.checks.push_back(compare(check, computed[check.tensor], reference.expected->load(check.tensor)));
    if (!report.passed()) report.first_difference = find_first_difference(recorder, *reference.expected);
  } catch (const std::exception& error) {
    report.error = error.what();
  }
  return report;
}

std::vector<std::filesystem::path> find_cases(const std::vector<std::filesystem::path>& paths) {
  namespace fs = std::filesystem;
  std::vector<fs::path> cases;
  for (const fs::path& path : paths) {
    if (fs::exists(path / "case.json")) {
      cases.push_back(path);
      continue;
    }
    size_t before = cases.size();
    if (fs::is_directory(path))
      for (const auto& entry : fs::directory_iterator(path))
        if (fs::exists(entry.path() / "case.json")) cases.push_back(entry.path());
    std::sort(cases.begin() + static_cast<int64_t>(before), cases.end());
    if (cases.size() == before)
      fail(ErrorKind::not_found, "give a folder with case.json, or a folder of such folders",
           "{}: no reference case here", path.string());
  }
  return cases;
}

}  // namespace vlm
