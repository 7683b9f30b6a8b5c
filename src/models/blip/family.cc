#include "models/blip/family.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cctype>

#include "models/common/media.h"
#include "models/common/prompt_and_target.h"
#include "system/training.h"

namespace vlm::blip {

namespace {

// For every row: the index of another partner, drawn.
Tensor wrong_partners(const Tensor& similarity_BB) {
  constexpr double kFloor = 1e-4;  // the least probability of any other partner, before normalisation
  Tensor fixed = similarity_BB.detach().to(at::kFloat).contiguous();
  Tensor weights_BB = at::softmax(fixed, 1) + kFloor;
  weights_BB.fill_diagonal_(0);
  at::Generator generator = at::detail::createCPUGenerator(hash_tensor(fixed).low);
  return at::multinomial(weights_BB, 1, /*replacement=*/false, generator).squeeze(1);
}

}  // namespace

std::string words_of(const Request& request) {
  if (request.messages.empty()) return request.prompt;
  std::string words;
  for (auto message = request.messages.rbegin(); message != request.messages.rend(); ++message) {
    if (message->role != "user") continue;
    for (const ContentPart& part : message->content) words += part.text;
    break;
  }
  return words;
}

Request example_of(const Request& request) {
  Request asked = prompt_and_target(request);
  std::string words = words_of(asked);
  bool needs_space = !words.empty() && !std::isspace(static_cast<unsigned char>(words.back()));
  if (!request.target && needs_space) asked.target = " " + *asked.target;
  return asked;
}

MediaInput prepare_picture(const Image& image, const std::optional<ImageProcessor>& processor, int64_t rows) {
  MediaInput media = single_view(image, processor, rows);
  set_key(media);
  return media;
}

MediaInput prepare_picture(const Request& request, const std::optional<ImageProcessor>& processor,
                           int64_t rows) {
  if (request.images.size() != 1 || !request.videos.empty())
    fail(ErrorKind::bad_request, "give one picture", "this system looks at one picture, {} were given",
         request.images.size() + request.videos.size());
  return prepare_picture(request.images.front(), processor, rows);
}

std::optional<ImageProcessor> processor_of(const Checkpoint& checkpoint) {
  if (checkpoint.preprocessor.is_null()) return std::nullopt;
  return ImageProcessor::from(checkpoint.preprocessor);
}

void check_pairs(int64_t num_images, int64_t num_texts) {
  if (num_images != 1 && num_images != num_texts)
    fail(ErrorKind::bad_request, "give one picture, or as many as texts", "{} pictures against {} texts",
         num_images, num_texts);
}

Tensor matching_loss(const Tensor& similarity_BB, const Tensor& states_BSV, const Tensor& ids_BT,
                     const Match& match) {
  int64_t batch = ids_BT.size(0);
  Tensor wrong_image = wrong_partners(similarity_BB.t()), wrong_text = wrong_partners(similarity_BB);
  Tensor texts = at::cat({ids_BT, ids_BT, ids_BT.index_select(0, wrong_text)});
  Tensor states = at::cat({states_BSV, states_BSV.index_select(0, wrong_image), states_BSV});
  Tensor labels = at::cat({at::ones({batch}, at::kLong), at::zeros({2 * batch}, at::kLong)});
  return at::cross_entropy_loss(match(states, texts), labels);
}

TextIds TextIds::from(const Json& json) {
  TextIds ids;
  ids.start = json.integer("bos_token_id", 0, 1 << 24, 30522);
  ids.match = ids.start + 1;
  ids.end = json.integer("sep_token_id", 0, 1 << 24, 102);
  ids.pad = json.integer("pad_token_id", 0, 1 << 24, 0);
  ids.label_smoothing = json.get("label_smoothing", 0.0);
  if (ids.label_smoothing < 0 || ids.label_smoothing >= 1)
    fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
         "{}: label_smoothing {} is out of range [0, 1)", json.path(), ids.label_smoothing);
  return ids;
}

}  // namespace vlm::blip
