// Next-token choice on plain floats: the rules that change scores, then greedy choice or a draw that the seed
// alone decides. Semantics and order of the shared rules are those of transformers' generate().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "system/rules.h"

namespace vlm {

struct SamplingOptions {
  bool do_sample = false;  // false, or temperature 0: the highest score
  double temperature = 1;
  int64_t top_k = 0;  // 0: off
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;  // over prompt and answer, as transformers
  double presence_penalty = 0;    // over the answer only, as OpenAI
  double frequency_penalty = 0;
  std::map<int64_t, double> logit_bias;
  int64_t no_repeat_ngram_size = 0;  // 0: off
  std::vector<int64_t> suppress_tokens;
  std::vector<int64_t> begin_suppress_tokens;  // for the first token only
  std::optional<int64_t> forced_first_token;   // transformers: forced_bos_token_id
  std::optional<int64_t> forced_last_token;    // forced_eos_token_id; counts from max_new_tokens
  std::optional<int64_t> max_new_tokens;
  int64_t min_new_tokens = 0;  // before, eos_ids cannot be chosen
  std::vector<int64_t> eos_ids;
  uint64_t seed = 0;
  int64_t num_alternatives = 0;  // how many best tokens Choice lists
};

// Fills in what the model's configuration demands and the caller left open.
void add_rules(SamplingOptions& options, const GenerationRules& rules);

// Throws bad_request where a value is out of its range.
void check_options(const SamplingOptions& options);

// What comes before temperature: works on logits or, in beam search, on log-probabilities. Ids outside the
// vocabulary (an image placeholder, say) are passed over.
void apply_rules(const SamplingOptions& options, std::span<float> scores, std::span<const int64_t> prompt_ids,
                 std::span<const int64_t> generated_ids);

// Temperature, top-k, top-p, min-p: excluded tokens get minus infinity.
void apply_warpers(const SamplingOptions& options, std::span<float> scores);

// log(sum(exp(scores))), the difference between a logit and its log-probability.
double log_sum_exp(std::span<const float> scores);

struct Choice {
  int64_t token = 0;
  // Under the model itself, before rules and temperature; 0 without num_alternatives: it takes a pass over
  // the whole vocabulary.
  double log_probability = 0;
  std::vector<std::pair<int64_t, double>> alternatives;  // best first, log-probabilities likewise
};

class Sampler {
 public:
  explicit Sampler(SamplingOptions options);

  // Changes `logits`. Throws bad_checkpoint when they hold nothing to choose from (all NaN, say).
  int64_t next(std::span<float> logits, std::span<const int64_t> prompt_ids,
               std::span<const int64_t> generated_ids);
  const Choice& last() const { return last_; }  // about the token that next() gave
  const SamplingOptions& options() const { return options_; }

 private:
  double uniform();  // in [0, 1)
  int64_t draw(std::span<const float> scores);

  SamplingOptions options_;
  uint64_t state_[4];            // of xoshiro256**
  std::vector<double> weights_;  // of draw(), kept for the next token
  Choice last_;
};

}  // namespace vlm
