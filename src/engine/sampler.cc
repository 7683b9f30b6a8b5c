#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace vlm {

namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();

void check_range(const char* name, double value, double low, double high) {
  if (value >= low && value <= high) return;
  fail(ErrorKind::bad_request, fmt::format("choose {} within [{}, {}]", name, low, high),
       "{} = {} is out of range", name, value);
}

bool is_greedy(const SamplingOptions& options) {
  return !options.do_sample || options.temperature == 0;
}

bool is_in(int64_t id, std::span<const float> scores) {
  return id >= 0 && id < static_cast<int64_t>(scores.size());
}

void exclude(std::span<const int64_t> ids, std::span<float> scores) {
  for (int64_t id : ids)
    if (is_in(id, scores)) scores[static_cast<size_t>(id)] = kExcluded;
}

void force(int64_t id, std::span<float> scores) {
  if (!is_in(id, scores))
    fail(ErrorKind::bad_request, "compare generation_config.json with the tokenizer",
         "the forced token {} is outside the vocabulary of {}", id, scores.size());
  std::fill(scores.begin(), scores.end(), kExcluded);
  scores[static_cast<size_t>(id)] = 0;
}

void apply_repetition_penalty(double penalty, std::span<float> scores, std::span<const int64_t> prompt_ids,
                              std::span<const int64_t> generated_ids) {
  std::vector<bool> is_done(scores.size());
  auto factor = static_cast<float>(penalty);
  for (std::span<const int64_t> ids : {prompt_ids, generated_ids})
    for (int64_t id : ids) {
      if (!is_in(id, scores) || is_done[static_cast<size_t>(id)]) continue;
      is_done[static_cast<size_t>(id)] = true;
      float& score = scores[static_cast<size_t>(id)];
      score = score < 0 ? score * factor : score / factor;
    }
}

void apply_count_penalties(const SamplingOptions& options, std::span<float> scores,
                           std::span<const int64_t> generated_ids) {
  std::map<int64_t, int64_t> counts;
  for (int64_t id : generated_ids) ++counts[id];
  for (const auto& [id, count] : counts)
    if (is_in(id, scores))
      scores[static_cast<size_t>(id)] -= static_cast<float>(
          options.presence_penalty + options.frequency_penalty * static_cast<double>(count));
}

// Excludes each token that would complete an n-gram which is already there.
void apply_no_repeat_ngram(int64_t size, std::span<float> scores, std::span<const int64_t> prompt_ids,
                           std::span<const int64_t> generated_ids) {
  std::vector<int64_t> ids(prompt_ids.begin(), prompt_ids.end());
  ids.insert(ids.end(), generated_ids.begin(), generated_ids.end());
  auto length = static_cast<int64_t>(ids.size());
  if (length + 1 < size) return;
  auto tail = ids.end() - (size - 1);
  for (auto begin = ids.begin(); begin + (size - 1) < ids.end(); ++begin)
    if (std::equal(tail, ids.end(), begin)) exclude(std::span(&begin[size - 1], 1), scores);
}

// Vocabularies have some 150,000 tokens: sixteen running maxima become vector instructions.
float largest(std::span<const float> scores) {
  constexpr size_t kLanes = 16;
  float best[kLanes];
  std::fill(best, best + kLanes, kExcluded);
  size_t id = 0;
  for (; id + kLanes <= scores.size(); id += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      best[lane] = scores[id + lane] > best[lane] ? scores[id + lane] : best[lane];  // false for NaN
  for (; id < scores.size(); ++id) best[0] = scores[id] > best[0] ? scores[id] : best[0];
  return *std::max_element(best, best + kLanes);
}

float kth_largest(std::span<const float> scores, size_t k) {
  constexpr size_t kLargestHeap = 1024;
  if (k > kLargestHeap) {
    std::vector<float> sorted(scores.begin(), scores.end());
    for (float& score : sorted)
      if (std::isnan(score)) score = kExcluded;
    auto kth = sorted.begin() + static_cast<int64_t>(k - 1);
    std::nth_element(sorted.begin(), kth, sorted.end(), std::greater<>());
    return *kth;
  }
  // The k best so far, the worst of them in front: few of the others are better.
  std::vector<float> best(k, kExcluded);
  for (float score : scores)
    if (score > best.front()) {
      std::pop_heap(best.begin(), best.end(), std::greater<>());
      best.back() = score;
      std::push_heap(best.begin(), best.end(), std::greater<>());
    }
  return best.front();
}

void apply_top_k(int64_t top_k, std::span<float> scores) {
  if (top_k >= static_cast<int64_t>(scores.size())) return;
  const float kth = kth_largest(scores, static_cast<size_t>(top_k));
  for (float& score : scores)
    if (score < kth) score = kExcluded;  // those equal to the k-th stay, as in transformers
}

// exp(score - largest), 0 for what is excluded; their sum.
double exponentials(std::span<const float> scores, std::vector<double>& weights) {
  const double top = largest(scores);
  double sum = 0;
  weights.resize(scores.size());
  for (size_t id = 0; id < scores.size(); ++id) {
    weights[id] = scores[id] > kExcluded ? std::exp(static_cast<double>(scores[id]) - top) : 0;
    sum += weights[id];
  }
  return sum;
}

void apply_top_p(double top_p, std::span<float> scores) {
  std::vector<double> weights;
  const double sum = exponentials(scores, weights), removable = (1 - top_p) * sum;
  // Tokens below this sum up to less than half of what may go: they need no sorting.
  const double negligible = removable / static_cast<double>(2 * scores.size());
  double removed = 0;
  std::vector<std::pair<double, size_t>> candidates;
  for (size_t id = 0; id < scores.size(); ++id) {
    if (!(scores[id] > kExcluded)) continue;
    if (weights[id] < negligible) {
      removed += weights[id];
      scores[id] = kExcluded;
    } else {
      candidates.emplace_back(weights[id], id);
    }
  }
  // Mostly a few hold what is to stay; the others go without being sorted.
  constexpr size_t kFew = 1024;
  if (candidates.size() > kFew) {
    auto rest = candidates.begin() + kFew;
    std::nth_element(candidates.begin(), rest, candidates.end(), std::greater<>());
    double sum_of_rest = 0;
    for (auto it = rest; it != candidates.end(); ++it) sum_of_rest += it->first;
    if (removed + sum_of_rest <= removable) {
      removed += sum_of_rest;
      for (auto it = rest; it != candidates.end(); ++it) scores[it->second] = kExcluded;
      candidates.erase(rest, candidates.end());
    }
  }
  std::sort(candidates.begin(), candidates.end());
  for (size_t idx = 0; idx + 1 < candidates.size(); ++idx) {
    removed += candidates[idx].first;
    if (removed > removable) return;
    scores[candidates[idx].second] = kExcluded;
  }
}

void apply_min_p(double min_p, std::span<float> scores) {
  double threshold = static_cast<double>(largest(scores)) + std::log(min_p);
  for (float& score : scores)
    if (static_cast<double>(score) < threshold) score = kExcluded;
}

// The first of the best ones.
size_t best_token(std::span<const float> scores) {
  auto found = std::find(scores.begin(), scores.end(), largest(scores));
  return found == scores.end() ? 0 : static_cast<size_t>(found - scores.begin());
}

uint64_t rotate_left(uint64_t value, int count) {
  return (value << count) | (value >> (64 - count));
}

}  // namespace

void add_rules(SamplingOptions& options, const GenerationRules& rules) {
  if (!options.forced_first_token) options.forced_first_token = rules.forced_first_token;
  if (!options.forced_last_token) options.forced_last_token = rules.forced_last_token;
  if (options.no_repeat_ngram_size == 0) options.no_repeat_ngram_size = rules.no_repeat_ngram_size;
  if (options.min_new_tokens == 0) options.min_new_tokens = rules.min_new_tokens;
  options.suppress_tokens.insert(options.suppress_tokens.end(), rules.suppress_tokens.begin(),
                                 rules.suppress_tokens.end());
}

void check_options(const SamplingOptions& options) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  check_range("temperature", options.temperature, 0, 1000);
  check_range("top_k", static_cast<double>(options.top_k), 0, kInfinity);
  check_range("top_p", options.top_p, 0, 1);
  check_range("min_p", options.min_p, 0, 1);
  check_range("repetition_penalty", options.repetition_penalty, 1e-6, 1e6);
  check_range("presence_penalty", options.presence_penalty, -1000, 1000);
  check_range("frequency_penalty", options.frequency_penalty, -1000, 1000);
  check_range("no_repeat_ngram_size", static_cast<double>(options.no_repeat_ngram_size), 0, kInfinity);
  for (const auto& [id, bias] : options.logit_bias) check_range("logit_bias", bias, -1e6, 1e6);
}

double log_sum_exp(std::span<const float> scores) {
  double top = largest(scores);
  if (!std::isfinite(top)) return top;
  double sum = 0;
  for (float score : scores)
    if (!std::isnan(score)) sum += std::exp(static_cast<double>(score) - top);
  return top + std::log(sum);
}

void apply_rules(const SamplingOptions& options, std::span<float> scores, std::span<const int64_t> prompt_ids,
                 std::span<const int64_t> generated_ids) {
  for (const auto& [id, bias] : options.logit_bias)
    if (is_in(id, scores)) scores[static_cast<size_t>(id)] += static_cast<float>(bias);
  if (options.repetition_penalty != 1)
    apply_repetition_penalty(options.repetition_penalty, scores, prompt_ids, generated_ids);
  if (options.presence_penalty != 0 || options.frequency_penalty != 0)
    apply_count_penalties(options, scores, generated_ids);
  if (options.no_repeat_ngram_size > 0)
    apply_no_repeat_ngram(options.no_repeat_ngram_size, scores, prompt_ids, generated_ids);
  auto num_generated = static_cast<int64_t>(generated_ids.size());
  if (num_generated < options.min_new_tokens) exclude(options.eos_ids, scores);
  if (num_generated == 0 && options.forced_first_token.has_value())
    force(*options.forced_first_token, scores);
  if (options.forced_last_token.has_value() && options.max_new_tokens == num_generated + 1)
    force(*options.forced_last_token, scores);
  exclude(options.suppress_tokens, scores);
  if (num_generated == 0) exclude(options.begin_suppress_tokens, scores);
}

void apply_warpers(const SamplingOptions& options, std::span<float> scores) {
  if (scores.empty()) return;
  if (options.temperature != 1) {
    auto temperature = static_cast<float>(options.temperature);
    for (float& score : scores) score /= temperature;
  }
  if (options.top_k > 0) apply_top_k(options.top_k, scores);
  if (options.top_p < 1) apply_top_p(options.top_p, scores);
  if (options.min_p > 0) apply_min_p(options.min_p, scores);
}

Sampler::Sampler(SamplingOptions options) : options_(std::move(options)) {
  check_options(options_);
  uint64_t seed = options_.seed;
  for (uint64_t& word : state_) {  // splitmix64 spreads the seed over the state
    seed += 0x9e3779b97f4a7c15u;
    uint64_t mixed = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    word = mixed ^ (mixed >> 31);
  }
}

// xoshiro256** 1.0 (Blackman and Vigna): the standard library's distributions differ between platforms.
double Sampler::uniform() {
  uint64_t result = rotate_left(state_[1] * 5, 7) * 9;
  uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = rotate_left(state_[3], 45);
  return static_cast<double>(result >> 11) * 0x1p-53;
}

int64_t Sampler::draw(std::span<const float> scores) {
  double left = uniform() * exponentials(scores, weights_);
  size_t last = best_token(scores);
  for (size_t id = 0; id < scores.size(); ++id) {
    if (weights_[id] == 0) continue;
    last = id;
    left -= weights_[id];
    if (left < 0) break;
  }
  return static_cast<int64_t>(last);  // the last one where rounding leaves a rest
}

int64_t Sampler::next(std::span<float> logits, std::span<const int64_t> prompt_ids,
                      std::span<const int64_t> generated_ids) {
  if (!std::isfinite(largest(logits)))
    fail(ErrorKind::bad_checkpoint, "run `vlm verify` on the checkpoint; it may be damaged or need float32",
         "the model gave no finite logit among {}", logits.size());
  last_ = Choice{};
  const int64_t num_listed = std::min(options_.num_alternatives, static_cast<int64_t>(logits.size()));
  double total = 0;
  std::vector<float> raw;
  if (num_listed > 0) {
    total = log_sum_exp(logits);
    raw.assign(logits.begin(), logits.end());
    std::vector<int64_t> ids(raw.size());
    std::iota(ids.begin(), ids.end(), 0);
    auto rank = [&](int64_t id) {
      return std::isnan(raw[static_cast<size_t>(id)]) ? kExcluded : raw[static_cast<size_t>(id)];
    };
    std::partial_sort(ids.begin(), ids.begin() + num_listed, ids.end(), [&](int64_t left, int64_t right) {
      return rank(left) != rank(right) ? rank(left) > rank(right) : left < right;
    });
    for (int64_t idx = 0; idx < num_listed; ++idx) {
      int64_t id = ids[static_cast<size_t>(idx)];
      last_.alternatives.emplace_back(id, static_cast<double>(rank(id)) - total);
    }
  }
  apply_rules(options_, logits, prompt_ids, generated_ids);
  if (!(largest(logits) > kExcluded))
    fail(ErrorKind::bad_request, "allow more tokens: fewer suppressed ones, a smaller no_repeat_ngram_size",
         "the sampling rules exclude every token");
  if (is_greedy(options_)) {
    last_.token = static_cast<int64_t>(best_token(logits));
  } else {
    apply_warpers(options_, logits);
    last_.token = draw(logits);
  }
  if (num_listed > 0)
    last_.log_probability = static_cast<double>(raw[static_cast<size_t>(last_.token)]) - total;
  return last_.token;
}

}  // namespace vlm
