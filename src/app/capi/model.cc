#include <algorithm>
#include <numeric>

#include "app/capi/handles.h"
#include "engine/load.h"
#include "engine/sampler_defaults.h"

namespace vlm::v0 {

namespace {

constexpr char kListHint[] = "`vlm list` shows what each system does; Model::info() what this one does";

ModelInfo describe(const LoadedModel& loaded) {
  const vlm::Model& model = *loaded.model;
  ModelInfo info;
  info.name = loaded.checkpoint.name;
  info.system = loaded.system->slug;
  info.precision = precision_name(loaded.weights->options().precision);
  info.num_parameters = loaded.weights->parameter_count();
  if (const auto* generator = as<Generator>(model)) {
    info.can_chat = true;
    info.max_tokens = generator->max_positions();
  }
  info.can_embed_images = as<ImageEmbedder>(model);
  info.can_embed_texts = as<TextEmbedder>(model);
  info.can_classify = as<Classifier>(model);
  return info;
}

template <typename Capability>
const Capability& require(const LoadedModel& loaded, const char* what) {
  const auto* capability = as<Capability>(*loaded.model);
  if (!capability) fail(ErrorKind::unsupported, kListHint, "{} does not {}", loaded.system->slug, what);
  return *capability;
}

template <typename Item>
void refuse_none(const std::vector<Item>& items, const char* what) {
  if (items.empty()) fail(ErrorKind::bad_request, "give at least one", "no {} given", what);
}

// Several vectors of one picture stand behind each other.
Embeddings embeddings_from(const Tensor& rows) {
  Tensor rows_BD = rows.flatten(1);
  return {static_cast<std::size_t>(rows_BD.size(0)), static_cast<std::size_t>(rows_BD.size(1)),
          to_floats(rows_BD)};
}

// [images, texts]
std::vector<float> compare(const Embedder& embedder, const std::vector<Image>& images,
                           const std::vector<std::string>& texts) {
  at::NoGradGuard no_grad;
  Tensor image_ID = embedder.embed_images(embedder.prepare_images(engine_images(images)));
  Tensor text_TD = embedder.embed_texts(embedder.prepare_texts(texts));
  return to_floats(embedder.probabilities(embedder.logits_per_image(image_ID, text_TD)));
}

std::vector<Label> best(const std::vector<std::string>& names, const std::vector<float>& scores,
                        std::size_t top) {
  VLM_CHECK(names.size() == scores.size(), "{} names, {} scores", names.size(), scores.size());
  std::vector<std::size_t> order(names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  if (top > 0 && top < order.size()) order.resize(top);
  std::vector<Label> labels;
  for (std::size_t idx : order) labels.push_back({names[idx], scores[idx]});
  return labels;
}

std::string fill_in(const std::string& text_template, const std::string& label) {
  std::size_t place = text_template.find("{}");
  if (place == std::string::npos)
    fail(ErrorKind::bad_request, "put {} where the label belongs, as in: a photo of a {}",
         "the text template \"{}\" has no place for the label", text_template);
  return text_template.substr(0, place) + label + text_template.substr(place + 2);
}

}  // namespace

Model Model::load(const std::string& name, const LoadOptions& options) {
  return enter([&] {
    vlm::LoadOptions engine_options;
    engine_options.precision = precision_or_auto(options.precision);
    engine_options.kv_precision = kv_precision_or_auto(options.kv_precision);
    engine_options.revision = options.revision;
    engine_options.system = options.system;
    engine_options.lenient = options.lenient;
    std::shared_ptr<const LoadedModel> loaded = load_model(name, engine_options);
    return Access::model({loaded, std::make_shared<FeatureCache>(), describe(*loaded)});
  });
}

const ModelInfo& Model::info() const {
  return data_->info;
}

AskOptions Model::published_options() const {
  return enter([&] {
    const SamplingDefaults defaults = sampling_defaults(data_->loaded->checkpoint.generation);
    const SamplingOptions& sampling = defaults.sampling;
    AskOptions options;
    options.max_new_tokens = defaults.max_new_tokens.value_or(options.max_new_tokens);
    options.temperature = sampling.do_sample ? sampling.temperature : 0;
    options.top_k = sampling.top_k;
    options.top_p = sampling.top_p;
    options.min_p = sampling.min_p;
    options.repetition_penalty = sampling.repetition_penalty;
    options.no_repeat_ngram_size = sampling.no_repeat_ngram_size;
    return options;
  });
}

Answer Model::generate(const std::string& prompt, const std::vector<Image>& images, const AskOptions& options,
                       const OnText& on_text) const {
  Session session = enter([&] { return Session(data_->loaded, data_->cache); });
  Request request;
  request.prompt = prompt;
  request.images = engine_images(images);
  return answer_in(session, request, options, on_text);
}

Embeddings Model::embed_images(const std::vector<Image>& images) const {
  return enter([&] {
    at::NoGradGuard no_grad;
    const auto& embedder = require<ImageEmbedder>(*data_->loaded, "embed pictures");
    refuse_none(images, "pictures");
    return embeddings_from(embedder.embed_images(embedder.prepare_images(engine_images(images))));
  });
}

Embeddings Model::embed_texts(const std::vector<std::string>& texts) const {
  return enter([&] {
    at::NoGradGuard no_grad;
    const auto& embedder = require<TextEmbedder>(*data_->loaded, "embed texts");
    refuse_none(texts, "texts");
    return embeddings_from(embedder.embed_texts(embedder.prepare_texts(texts)));
  });
}

std::vector<float> Model::similarity(const std::vector<Image>& images,
                                     const std::vector<std::string>& texts) const {
  return enter([&] {
    const auto& embedder = require<Embedder>(*data_->loaded, "compare pictures with texts");
    refuse_none(images, "pictures");
    refuse_none(texts, "texts");
    return compare(embedder, images, texts);
  });
}

std::vector<Label> Model::classify(const Image& image, std::size_t top) const {
  return enter([&] {
    at::NoGradGuard no_grad;
    const auto& classifier = require<Classifier>(*data_->loaded, "classify without labels");
    Tensor logits_1C = classifier.class_logits(classifier.prepare_images(engine_images({image})));
    return best(classifier.class_names(), to_floats(at::softmax(logits_1C, 1)), top);
  });
}

std::vector<Label> Model::classify(const Image& image, const std::vector<std::string>& labels,
                                   std::size_t top, const std::string& text_template) const {
  return enter([&] {
    const auto& embedder = require<Embedder>(*data_->loaded, "compare pictures with labels");
    refuse_none(labels, "labels");
    std::vector<std::string> texts;
    for (const std::string& label : labels) texts.push_back(fill_in(text_template, label));
    return best(labels, compare(embedder, {image}, texts), top);
  });
}

}  // namespace vlm::v0
