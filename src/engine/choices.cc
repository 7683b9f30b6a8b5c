#include "engine/choices.h"

namespace vlm {

std::vector<double> score_choices(const Generator& generator, const Prompt& prompt,
                                  const std::vector<Tensor>& features,
                                  const std::vector<std::vector<int64_t>>& answers) {
  at::NoGradGuard no_grad;
  Sequence start;
  Tensor first_1K = generator.prefill(prompt, features, start, /*all_rows=*/false).slice(0, -1);
  first_1K = at::log_softmax(first_1K.to(at::kDouble), -1);
  std::vector<Sequence> sequences(answers.size());
  std::vector<Generator::Continuation> batch;
  std::vector<double> scores;
  for (size_t idx = 0; idx < answers.size(); ++idx) {
    const std::vector<int64_t>& ids = answers[idx];
    if (ids.empty()) fail(ErrorKind::bad_request, "give every answer a word", "answer {} is empty", idx + 1);
    scores.push_back(first_1K[0][ids.front()].item<double>());
    if (ids.size() == 1) continue;
    sequences[idx].cache = start.cache.clone();
    sequences[idx].extra = start.extra;
    batch.push_back({{ids.begin(), ids.end() - 1}, &sequences[idx]});
  }
  if (batch.empty()) return scores;
  Tensor rows_TK = at::log_softmax(generator.extend(batch).to(at::kDouble), -1);
  int64_t row = 0;
  for (size_t idx = 0; idx < answers.size(); ++idx)
    for (size_t at = 1; at < answers[idx].size(); ++at)
      scores[idx] += rows_TK[row++][answers[idx][at]].item<double>();
  return scores;
}

std::vector<int64_t> choice_ids(const Tokenizer& tokenizer, const Generator& generator,
                                const std::string& text) {
  std::vector<int64_t> ids = tokenizer.ids(text, /*add_special_tokens=*/false);
  std::vector<int64_t> ends = generator.eos_ids();
  if (!ends.empty()) ids.push_back(ends.front());
  return ids;
}

}  // namespace vlm
