#include "engine/verify.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/ranges.h>

#include "engine/case.h"
#include "engine/choices.h"
#include "engine/decode.h"
#include "engine/sampler.h"
#include "engine/session.h"

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

Tensor box_rows(const std::vector<Region>& regions) {
  std::vector<double> values;
  for (const Region& region : regions)
    if (region.box_xyxy) values.insert(values.end(), region.box_xyxy->begin(), region.box_xyxy->end());
  return at::tensor(values, at::kDouble).reshape({-1, 4});
}

// Regions by FORMAT.md's names, and what the case says about the answer's text.
void record_answer(const ReferenceCase& reference, const ParsedAnswer& answer, Tensors& computed) {
  computed["boxes"] = box_rows(answer.regions);
  std::vector<double> quads;
  std::vector<Tensor> masks;
  for (size_t idx = 0; idx < answer.regions.size(); ++idx) {
    const Region& region = answer.regions[idx];
    if (region.quad) quads.insert(quads.end(), region.quad->begin(), region.quad->end());
    for (size_t part = 0; part < region.polygons.size(); ++part) {
      std::vector<double> corners;
      for (const Point& corner : region.polygons[part]) corners.insert(corners.end(), {corner.x, corner.y});
      computed[fmt::format("polygons/{}/{}", idx, part)] = at::tensor(corners, at::kDouble).reshape({-1, 2});
    }
    if (!region.mask.empty()) {
      const Image& image = reference.request.images.at(static_cast<size_t>(region.image));
      Tensor mask = at::empty({image.height, image.width}, at::kByte);
      VLM_CHECK(static_cast<int64_t>(region.mask.size()) == mask.numel(), "a mask of {} bytes",
                region.mask.size());
      std::copy(region.mask.begin(), region.mask.end(), mask.data_ptr<uint8_t>());
      masks.push_back(mask);
    }
  }
  computed["quad_boxes"] = at::tensor(quads, at::kDouble).reshape({-1, 8});
  if (!masks.empty()) computed["masks"] = at::stack(masks);
}

TensorCheck text_check(const char* name, const std::string& found, const std::string& wanted) {
  TensorCheck check;
  check.tensor = name, check.exact = true, check.passed = found == wanted;
  if (!check.passed) check.detail = fmt::format("found \"{}\", expected \"{}\"", found, wanted);
  return check;
}

std::vector<TensorCheck> check_answer(const ReferenceCase::ReadAnswer& wanted, const std::string& text,
                                      const ParsedAnswer& answer) {
  std::vector<TensorCheck> checks;
  std::vector<std::string> labels, spans, wanted_spans;
  for (const Region& region : answer.regions) {
    labels.push_back(region.label);
    if (region.text_span)
      spans.push_back(fmt::format("{}-{}", (*region.text_span)[0], (*region.text_span)[1]));
  }
  for (const auto& span : wanted.spans) wanted_spans.push_back(fmt::format("{}-{}", span[0], span[1]));
  if (wanted.text) checks.push_back(text_check("answer/text", text, *wanted.text));
  if (wanted.caption) checks.push_back(text_check("answer/caption", answer.text, *wanted.caption));
  if (wanted.labels)
    checks.push_back(text_check("answer/labels", fmt::format("{}", fmt::join(labels, "|")),
                                fmt::format("{}", fmt::join(*wanted.labels, "|"))));
  if (!wanted_spans.empty())
    checks.push_back(text_check("answer/spans", fmt::format("{}", fmt::join(spans, " ")),
                                fmt::format("{}", fmt::join(wanted_spans, " "))));
  return checks;
}

bool ends_with(const std::vector<int64_t>& ids, const std::vector<int64_t>& ends) {
  return !ids.empty() && std::find(ends.begin(), ends.end(), ids.back()) != ends.end();
}

// The reference keeps the end token that it stopped at.
void keep_end(const ReferenceCase& reference, const std::vector<int64_t>& ends, std::vector<int64_t>& ids) {
  std::vector<int64_t> expected = to_ids(reference.expected->load("generated_ids"));
  if (ends_with(expected, ends)) ids.push_back(expected.back());
}

// The best of several beams, and the logits that lead along it.
std::vector<int64_t> search_beams(const ReferenceCase& reference, const LoadedModel& loaded,
                                  const Generator& generator, const Prompt& prompt,
                                  const std::vector<Tensor>& features, std::vector<Tensor>& rows) {
  std::shared_ptr<const LoadedModel> borrowed(std::shared_ptr<const LoadedModel>(), &loaded);
  AnswerOptions options;
  options.max_new_tokens = reference.max_new_tokens;
  options.num_beams = reference.num_beams;
  Answer answer = Session(borrowed, nullptr).answer(reference.request, options);
  if (answer.finish == Finish::eos) keep_end(reference, generator.eos_ids(), answer.ids);
  Sequence sequence;
  rows.push_back(generator.prefill(prompt, features, sequence, /*all_rows=*/false));
  for (size_t idx = 0; idx + 1 < answer.ids.size(); ++idx)
    rows.push_back(generator.extend({{{answer.ids[idx]}, &sequence}}));
  return answer.ids;
}

// What transformers' generate() does greedily, under the rules of the checkpoint's configuration.
std::vector<int64_t> generate(const ReferenceCase& reference, const Generator& generator,
                              const Prompt& prompt, std::vector<Tensor>& rows) {
  SamplingOptions sampling;
  sampling.eos_ids = generator.eos_ids();
  sampling.max_new_tokens = reference.max_new_tokens;
  add_rules(sampling, generator.rules());
  Sampler sampler(sampling);
  std::vector<int64_t> decoder_prompt = generator.is_encoder_decoder() ? std::vector<int64_t>() : prompt.ids;
  Memory memory;
  DecodeOptions options;
  options.max_new_tokens = reference.max_new_tokens;
  options.eos_ids = generator.eos_ids();
  options.pick = [&](std::span<float> logits, std::span<const int64_t> generated) {
    rows.push_back(at::from_blob(logits.data(), {1, static_cast<int64_t>(logits.size())}).clone());
    return sampler.next(logits, decoder_prompt, generated);
  };
  DecodeResult result = decode(generator, prompt, memory, nullptr, options);
  if (result.finish == Finish::eos) keep_end(reference, options.eos_ids, result.ids);
  return result.ids;
}

void run_generate(const ReferenceCase& reference, const LoadedModel& loaded, const Generator& generator,
                  CaseReport& report, Tensors& computed) {
  Prompt prompt = generator.prepare(reference.request);
  if (reference.rendered_prompt && prompt.text != *reference.rendered_prompt)
    fail(ErrorKind::internal, "", "the chat template gave \"{}\", expected \"{}\"", prompt.text,
         *reference.rendered_prompt);
  computed["input_ids"] = ids_tensor(prompt.ids);
  computed.merge(media_tensors(prompt));
  DecodeTimes times;
  std::vector<Tensor> features = encode_media(generator, prompt, nullptr, times);
  if (!features.empty()) computed["image_features"] = at::cat(features);
  std::vector<Tensor> rows;
  if (!generator.is_encoder_decoder()) {
    Sequence sequence;
    computed["logits"] = generator.prefill(prompt, features, sequence, /*all_rows=*/true);
  }
  std::vector<int64_t> ids = reference.num_beams > 1
                                 ? search_beams(reference, loaded, generator, prompt, features, rows)
                                 : generate(reference, generator, prompt, rows);
  if (generator.is_encoder_decoder()) computed["logits"] = at::cat(rows);
  computed["generated_ids"] = ids_tensor(ids);

  if (ends_with(ids, generator.eos_ids())) ids.pop_back();
  const Tokenizer& tokenizer = loaded.checkpoint.tokens();
  std::string text = tokenizer.decode(ids, /*skip_special_tokens=*/false);
  ParsedAnswer answer{text, {}, {}};
  if (const auto* reader = as<AnswerReader>(*loaded.model)) {
    text = reader->readable_text(tokenizer, ids, reference.request);
    answer = reader->read_answer(text, reference.request);
    record_answer(reference, answer, computed);
  }
  report.checks = check_answer(reference.answer, text, answer);
}

void run_choose(const ReferenceCase& reference, const LoadedModel& loaded, const Generator& generator,
                Tensors& computed) {
  Prompt prompt = generator.prepare(reference.request);
  computed["input_ids"] = ids_tensor(prompt.ids);
  computed.merge(media_tensors(prompt));
  DecodeTimes times;
  std::vector<Tensor> features = encode_media(generator, prompt, nullptr, times);
  std::vector<std::vector<int64_t>> answers;
  for (const std::string& text : reference.answers)
    answers.push_back(choice_ids(loaded.checkpoint.tokens(), generator, text));
  computed["choice_scores"] = at::tensor(score_choices(generator, prompt, features, answers), at::kDouble);
}

void run_embed(const ReferenceCase& reference, const Embedder& embedder, Tensors& computed) {
  computed["pixel_values"] = embedder.prepare_images(reference.request.images);
  computed["input_ids"] = embedder.prepare_texts(reference.texts);
  computed["image_embeds"] = embedder.embed_images(computed["pixel_values"]);
  computed["text_embeds"] = embedder.embed_texts(computed["input_ids"]);
  computed["logits_per_image"] = embedder.logits_per_image(computed["image_embeds"], computed["text_embeds"]);
}

void run_embed(const ReferenceCase& reference, const TextEmbedder& embedder, Tensors& computed) {
  computed["input_ids"] = embedder.prepare_texts(reference.texts);
  computed["text_embeds"] = embedder.embed_texts(computed["input_ids"]);
}

void run_score(const ReferenceCase& reference, const PairScorer& scorer, Tensors& computed) {
  run_embed(reference, scorer, computed);
  computed["itm_logits"] = scorer.itm_logits(computed["pixel_values"], computed["input_ids"]);
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
  const auto* learner = as<PairTrainable>(*loaded.model);
  if (const auto* embedder = as<Embedder>(*loaded.model); embedder && learner) {
    computed["pixel_values"] = embedder->prepare_images(reference.request.images);
    computed["input_ids"] = embedder->prepare_texts(reference.texts);
    PairTrainable::PairLosses losses = learner->pair_losses(computed["pixel_values"], computed["input_ids"]);
    for (const auto& [name, part] : losses.parts) computed["loss/" + name] = part.detach();
    add_gradients(loaded, losses.loss, computed);
    return;
  }
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
  computed.merge(media_tensors(example));
  if (const auto* generator = as<Generator>(*loaded.model); generator && !example.media.empty()) {
    at::NoGradGuard no_grad;
    DecodeTimes times;
    computed["image_features"] = at::cat(encode_media(*generator, example, nullptr, times));
  }
  LanguageTrainable::Losses losses = trainable->loss({example}, /*all_logits=*/true);
  computed["logits"] = losses.logits;
  add_gradients(loaded, losses.loss, computed);
}

void run(const ReferenceCase& reference, const LoadedModel& loaded, CaseReport& report, Tensors& computed) {
  at::NoGradGuard no_grad;
  auto lacks = [&](const char* what) {
    fail(ErrorKind::unsupported, "", "{} has no {}, which task {} needs", loaded.system->slug, what,
         reference.task);
  };
  if (reference.task == "generate" || reference.task == "detect" || reference.task == "segment") {
    const auto* generator = as<Generator>(*loaded.model);
    if (!generator) lacks("generator");
    run_generate(reference, loaded, *generator, report, computed);
  } else if (reference.task == "choose") {
    const auto* generator = as<Generator>(*loaded.model);
    if (!generator) lacks("generator");
    run_choose(reference, loaded, *generator, computed);
  } else if (reference.task == "score") {
    const auto* scorer = as<PairScorer>(*loaded.model);
    if (!scorer) lacks("matching head");
    run_score(reference, *scorer, computed);
  } else if (reference.task == "embed") {
    if (const auto* embedder = as<Embedder>(*loaded.model)) {
      run_embed(reference, *embedder, computed);
    } else {
      const auto* texts = as<TextEmbedder>(*loaded.model);
      if (!texts) lacks("embedder");
      run_embed(reference, *texts, computed);
    }
  } else if (reference.task == "classify") {
    const auto* classifier = as<Classifier>(*loaded.model);
    if (!classifier) lacks("classifier");
    run_classify(reference, *classifier, computed);
  } else if (reference.task == "train") {
    run_train(reference, loaded, computed);
  } else {
    fail(ErrorKind::unsupported, "",
         "task \"{}\" is not known (generate, choose, detect, segment, score, embed, classify, train)",
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

TensorCheck compare(const ReferenceCase::Check& check, const Tensor& computed, const Tensor& wanted) {
  TensorCheck result;
  result.tensor = check.tensor, result.exact = check.exact, result.atol = check.atol,
  result.rtol = check.rtol;
  if (!computed.defined()) {
    result.detail = "was not computed";
    return result;
  }
  // A conversation may be a batch of one in the reference.
  bool is_batch_of_one = wanted.dim() == computed.dim() + 1 && wanted.size(0) == 1;
  Tensor found = is_batch_of_one ? computed.unsqueeze(0) : computed;
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
    LoadedModel loaded = bind_model(reference.open_checkpoint(), adjusted, slug);
    {
      trace::Scope scope(&recorder);
      run(reference, loaded, report, computed);
    }
    // What building blocks return beside the results of their interface, they trace under its name.
    for (const auto& [name, tensor] : recorder.points()) computed.emplace(name, tensor);
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
