// embed, classify, similarity.
#include <algorithm>
#include <numeric>

#include "app/cli/commands/command.h"
#include "app/cli/commands/models.h"
#include "app/cli/commands/pictures.h"
#include "weights/writer.h"

namespace vlm::cli {

namespace {

// Rows of a matrix as numbers; several vectors of one thing stand behind each other.
std::vector<std::vector<float>> rows_of(const Tensor& matrix) {
  std::vector<float> values = to_floats(matrix);
  int64_t width = matrix[0].numel();
  std::vector<std::vector<float>> rows;
  for (int64_t row = 0; row < matrix.size(0); ++row)
    rows.emplace_back(values.begin() + row * width, values.begin() + (row + 1) * width);
  return rows;
}

std::string numbers_text(const std::vector<float>& values) {
  std::string text;
  for (float value : values) text += fmt::format("{}{:.7g}", text.empty() ? "" : " ", value);
  return text;
}

// Labels with percents, best first.
std::vector<std::pair<std::string, double>> ranked(const std::vector<std::string>& labels,
                                                   const std::vector<float>& scores, int64_t top) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  order.resize(std::min(order.size(), static_cast<size_t>(top)));
  std::vector<std::pair<std::string, double>> result;
  for (size_t idx : order) result.emplace_back(labels[idx], scores[idx]);
  return result;
}

// Largest cosines between the vectors of things: [A, D] or [A, Q, D] against [B, D] or [B, R, D] -> [A, B].
Tensor cosines_of(const Tensor& a, const Tensor& b) {
  auto vectors = [](const Tensor& embeds) { return embeds.dim() == 3 ? embeds : embeds.unsqueeze(1); };
  Tensor a_AQD = vectors(a), b_BRD = vectors(b);
  return at::matmul(a_AQD.flatten(0, 1), b_BRD.flatten(0, 1).t())
      .view({a_AQD.size(0), a_AQD.size(1), b_BRD.size(0), b_BRD.size(1)})
      .amax({1, 3});
}

// How likely every text belongs to every picture, by a head that reads both together: [I, T].
Tensor match_probabilities(const PairScorer& scorer, const std::vector<Image>& images,
                           const std::vector<std::string>& texts) {
  Tensor pixels_I3HW = scorer.prepare_images(images), ids_BT = scorer.prepare_texts(texts);
  std::vector<Tensor> rows;
  for (int64_t idx = 0; idx < pixels_I3HW.size(0); ++idx)
    rows.push_back(at::softmax(scorer.itm_logits(pixels_I3HW.narrow(0, idx, 1), ids_BT), 1).select(1, 1));
  return at::stack(rows);
}

std::string filled(const std::string& text_template, const std::string& label) {
  size_t place = text_template.find("{}");
  if (place == std::string::npos)
    fail(ErrorKind::bad_request, "write {} where the label belongs, as in \"a photo of a {}\"",
         "--template \"{}\" has no place for the label", text_template);
  return std::string(text_template).replace(place, 2, label);
}

void need_pictures(const std::vector<std::string>& images) {
  if (images.empty()) fail(ErrorKind::bad_request, "give --image FILE", "no picture was given");
}

}  // namespace

int run_command(const EmbedOptions& embed, const Context& context) {
  if (embed.images.empty() && embed.texts.empty())
    fail(ErrorKind::bad_request, "give --image FILE or --text TEXT", "nothing to embed was given");
  std::vector<Image> images = read_pictures(embed.images);
  std::shared_ptr<const LoadedModel> loaded = open_model(embed.model);
  at::NoGradGuard no_grad;
  NamedTensors results;
  if (!images.empty()) {
    const auto& embedder = need<ImageEmbedder>(*loaded, "does not embed pictures");
    results.emplace_back("image_embeds", embedder.embed_images(embedder.prepare_images(images)));
  }
  if (!embed.texts.empty()) {
    const auto& embedder = need<TextEmbedder>(*loaded, "does not embed texts");
    results.emplace_back("text_embeds", embedder.embed_texts(embedder.prepare_texts(embed.texts)));
  }
  if (!embed.output.empty()) {
    for (auto& [name, tensor] : results) tensor = tensor.contiguous();
    write_safetensors(embed.output, results);
    return kExitOk;
  }
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& [name, tensor] : results) {
    bool is_image = name == "image_embeds";
    std::vector<std::vector<float>> rows = rows_of(tensor);
    for (size_t row = 0; row < rows.size(); ++row) {
      if (context.options.json)
        list.push_back({{is_image ? "image" : "text", is_image ? embed.images[row] : embed.texts[row]},
                        {"embedding", rows[row]}});
      else
        print(numbers_text(rows[row]) + "\n");
    }
  }
  if (context.options.json) print_json({{"model", loaded->checkpoint.name}, {"embeddings", list}});
  return kExitOk;
}

int run_command(const ClassifyOptions& classify, const Context& context) {
  need_pictures(classify.images);
  std::vector<Image> images = read_pictures(classify.images);
  std::vector<std::string> texts;
  for (const std::string& label : classify.labels) texts.push_back(filled(classify.text_template, label));
  std::shared_ptr<const LoadedModel> loaded = open_model(classify.model);
  at::NoGradGuard no_grad;
  std::vector<std::string> labels = classify.labels;
  Tensor probabilities;
  if (!labels.empty()) {
    const auto& embedder = need<Embedder>(*loaded, "does not compare pictures with labels");
    Tensor image_ID = embedder.embed_images(embedder.prepare_images(images));
    Tensor text_TD = embedder.embed_texts(embedder.prepare_texts(texts));
    probabilities = embedder.probabilities(embedder.logits_per_image(image_ID, text_TD));
  } else {
    if (as<Embedder>(*loaded->model))
      fail(ErrorKind::bad_request, "give --labels \"a cat,a dog\"", "{} has no classes of its own",
           loaded->checkpoint.name);
    const auto& classifier = need<Classifier>(*loaded, "does not classify pictures");
    labels = classifier.class_names();
    probabilities = at::softmax(classifier.class_logits(classifier.prepare_images(images)), -1);
  }
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  std::vector<std::vector<float>> rows = rows_of(probabilities);
  for (size_t row = 0; row < rows.size(); ++row) {
    nlohmann::ordered_json found = nlohmann::ordered_json::array();
    if (!context.options.json && rows.size() > 1)
      print(context.terminal.out.paint(Ink::bold, classify.images[row]) + "\n");
    for (const auto& [label, probability] : ranked(labels, rows[row], classify.top)) {
      if (context.options.json)
        found.push_back({{"label", label}, {"probability", probability}});
      else
        print(fmt::format("{:6.2f} %  {}\n", probability * 100, label));
    }
    list.push_back({{"image", classify.images[row]}, {"labels", found}});
  }
  if (context.options.json) print_json({{"model", loaded->checkpoint.name}, {"images", list}});
  return kExitOk;
}

int run_command(const SimilarityOptions& similarity, const Context& context) {
  if (similarity.images.size() + similarity.texts.size() < 2)
    fail(ErrorKind::bad_request, "give at least two of --image and --text", "there is nothing to compare");
  std::vector<Image> images = read_pictures(similarity.images);
  std::shared_ptr<const LoadedModel> loaded = open_model(similarity.model);
  at::NoGradGuard no_grad;
  std::vector<std::string> names;
  std::vector<Tensor> embeds;
  if (!images.empty()) {
    const auto& embedder = need<ImageEmbedder>(*loaded, "does not embed pictures");
    embeds.push_back(embedder.embed_images(embedder.prepare_images(images)));
    names.insert(names.end(), similarity.images.begin(), similarity.images.end());
  }
  if (!similarity.texts.empty()) {
    const auto& embedder = need<TextEmbedder>(*loaded, "does not embed texts");
    embeds.push_back(embedder.embed_texts(embedder.prepare_texts(similarity.texts)));
    names.insert(names.end(), similarity.texts.begin(), similarity.texts.end());
  }
  nlohmann::ordered_json pairs = nlohmann::ordered_json::array();
  bool is_mixed = embeds.size() == 2;  // then only pairs of a picture and a text are of interest
  std::vector<std::vector<float>> cosines = rows_of(cosines_of(embeds.front(), embeds.back())), logits,
                                  matches;
  if (is_mixed) logits = rows_of(need<Embedder>(*loaded, "").logits_per_image(embeds[0], embeds[1]));
  if (const auto* scorer = as<PairScorer>(*loaded->model); scorer && is_mixed)
    matches = rows_of(match_probabilities(*scorer, images, similarity.texts));
  size_t num_rows = cosines.size(), num_columns = cosines.front().size(),
         first_text = is_mixed ? num_rows : 0;
  for (size_t a = 0; a < num_rows; ++a) {
    for (size_t b = is_mixed ? 0 : a + 1; b < num_columns; ++b) {
      const std::string &left = names[a], &right = names[first_text + b];
      nlohmann::ordered_json pair{{"a", left}, {"b", right}, {"cosine", cosines[a][b]}};
      if (is_mixed) pair["logit"] = logits[a][b];
      if (!matches.empty()) pair["match"] = matches[a][b];
      std::string match = matches.empty() ? "" : fmt::format("match {:6.2f} %  ", matches[a][b] * 100);
      if (!context.options.json)
        print(fmt::format("{:8.4f}  {}{}  |  {}\n", cosines[a][b], match, left, right));
      pairs.push_back(std::move(pair));
    }
  }
  if (context.options.json) print_json({{"model", loaded->checkpoint.name}, {"pairs", pairs}});
  return kExitOk;
}

}  // namespace vlm::cli
