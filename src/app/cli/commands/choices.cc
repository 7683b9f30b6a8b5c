#include "app/cli/commands/choices.h"

#include <algorithm>
#include <numeric>

#include "app/cli/commands/models.h"
#include "engine/choices.h"
#include "engine/decode.h"

namespace vlm::cli {

void print_choices(const LoadedModel& loaded, const Request& request, const std::vector<std::string>& answers,
                   const Context& context) {
  const Generator& generator = need<Generator>(loaded, "does not answer questions");
  at::NoGradGuard no_grad;
  Prompt prompt = generator.prepare(request);
  DecodeTimes times;
  std::vector<Tensor> features = encode_media(generator, prompt, nullptr, times);
  std::vector<std::vector<int64_t>> ids;
  for (const std::string& answer : answers)
    ids.push_back(choice_ids(loaded.checkpoint.tokens(), generator, answer));
  std::vector<double> scores = score_choices(generator, prompt, features, ids);
  std::vector<float> shares = to_floats(at::softmax(at::tensor(scores, at::kDouble), 0).to(at::kFloat));
  std::vector<size_t> order(answers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (size_t idx : order) {
    if (context.options.json)
      list.push_back({{"answer", answers[idx]}, {"share", shares[idx]}, {"log_probability", scores[idx]}});
    else
      print(fmt::format("{:6.2f} %  {}\n", shares[idx] * 100, answers[idx]));
  }
  if (context.options.json) print_json({{"model", loaded.checkpoint.name}, {"choices", list}});
}

}  // namespace vlm::cli
