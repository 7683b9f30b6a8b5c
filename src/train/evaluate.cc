#include "train/evaluate.h"

#include <algorithm>

namespace vlm {

namespace {

constexpr int64_t kSequencesAtOnce = 32;
constexpr int64_t kLongestAnswer = 64;

std::string trimmed(const std::string& text) {
  size_t first = text.find_first_not_of(" \n"), last = text.find_last_not_of(" \n");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

}  // namespace

std::string ExactMatch::summary() const {
  std::string kinds;
  for (const auto& [kind, count] : by_kind)
    kinds += fmt::format("{}{} {:.0f}/{}", kinds.empty() ? "" : ", ", kind, 100 * count.share(), count.asked);
  return fmt::format("{:.1f} % ({})", 100 * all.share(), kinds);
}

std::vector<std::string> answer_greedily(const Generator& model, const Tokenizer& tokenizer,
                                         const std::vector<Request>& requests, int64_t longest) {
  at::NoGradGuard no_grad;
  std::vector<int64_t> eos = model.eos_ids();
  auto ends = [&](int64_t id) { return std::find(eos.begin(), eos.end(), id) != eos.end(); };
  std::vector<Sequence> sequences(requests.size());
  std::vector<std::vector<int64_t>> ids(requests.size());
  std::vector<size_t> open;
  for (size_t at = 0; at < requests.size(); ++at) {
    Prompt prompt = model.prepare(requests[at]);
    std::vector<Tensor> features;
    for (const MediaInput& media : prompt.media) features.push_back(model.encode(media));
    Tensor logits = model.prefill(prompt, features, sequences[at], false);
    ids[at].push_back(logits.argmax(-1).item<int64_t>());
    if (!ends(ids[at].back())) open.push_back(at);
  }
  for (int64_t length = 1; length < longest && !open.empty(); ++length) {
    std::vector<Generator::Continuation> batch;
    for (size_t at : open) batch.push_back({{ids[at].back()}, &sequences[at]});
    std::vector<int64_t> next = to_ids(model.extend(batch).argmax(-1));
    std::vector<size_t> still_open;
    for (size_t row = 0; row < open.size(); ++row) {
      ids[open[row]].push_back(next[row]);
      if (!ends(next[row])) still_open.push_back(open[row]);
    }
    open = std::move(still_open);
  }
  std::vector<std::string> answers;
  for (std::vector<int64_t>& answer : ids) {
    if (ends(answer.back())) answer.pop_back();
    answers.push_back(trimmed(tokenizer.decode(answer)));
  }
  return answers;
}

ExactMatch evaluate_scenes(const Generator& model, const Tokenizer& tokenizer, const data::DataOptions& data,
                           int64_t count, uint64_t seed) {
  data::DataOptions held_out = data;
  held_out.scene.split = data::Split::test;
  ExactMatch result;
  for (int64_t begin = 0; begin < count; begin += kSequencesAtOnce) {
    std::vector<Request> requests;
    for (int64_t index = begin; index < std::min(count, begin + kSequencesAtOnce); ++index) {
      data::Sample sample = data::make_sample(seed, static_cast<uint64_t>(index), held_out);
      const data::Turn& turn = sample.turns[static_cast<size_t>(index) % sample.turns.size()];
      Request request;
      request.messages.push_back(
          {"user", {{ContentPart::Kind::image, ""}, {ContentPart::Kind::text, turn.question}}});
      request.images.push_back(std::move(sample.image));
      requests.push_back(std::move(request));
      result.answers.push_back({turn.kind, turn.question, turn.answer, ""});
    }
    std::vector<std::string> given = answer_greedily(model, tokenizer, requests, kLongestAnswer);
    for (size_t at = 0; at < given.size(); ++at) {
      ExactMatch::Answer& answer = result.answers[static_cast<size_t>(begin) + at];
      answer.given = given[at];
      bool is_right = answer.given == answer.wanted;
      for (ExactMatch::Count* counted : {&result.all, &result.by_kind[answer.kind]})
        ++counted->asked, counted->right += is_right;
    }
  }
  return result;
}

}  // namespace vlm
