// Beam search as an algorithm on log-probabilities, without a model: the engine computes them and moves its
// caches as told. Semantics of transformers' generate(num_beams > 1, do_sample=False).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace vlm {

enum class EarlyStopping {
  no,     // a heuristic: stop when the best open beam, at its present length, cannot win
  yes,    // stop as soon as num_beams answers are complete
  never,  // like `no`, but with the greatest possible length where longer answers are favoured
};

struct BeamOptions {
  int64_t num_beams = 1;
  int64_t max_new_tokens = 20;
  double length_penalty = 1;  // scores are divided by length ** length_penalty
  EarlyStopping early_stopping = EarlyStopping::no;
  std::vector<int64_t> eos_ids;
};

class BeamSearch {
 public:
  // Throws bad_request where an option is out of its range.
  explicit BeamSearch(BeamOptions options);

  // What each of the num_beams open beams became: beam i continues the former beam parents[i] by tokens[i].
  struct Step {
    std::vector<int64_t> parents;
    std::vector<int64_t> tokens;
  };

  // log_probs: [num_beams, vocabulary], log-softmax of the logits, then the rules (apply_rules). In the first
  // step every beam is the prompt and only row 0 counts: give it alone, or all rows.
  const Step& step(std::span<const float> log_probs, int64_t vocabulary);

  bool is_done() const { return is_done_; }
  int64_t num_beams() const { return options_.num_beams; }
  const std::vector<int64_t>& open_sequence(int64_t beam) const;  // generated tokens of an open beam

  struct Answer {
    std::vector<int64_t> tokens;  // with the end token, where there is one
    double score = 0;
  };
  // The complete answers, best first; at most num_beams.
  std::vector<Answer> answers() const;

 private:
  struct Beam {
    std::vector<int64_t> tokens;
    float score = 0;
    bool is_finished = false;
  };
  struct Candidate {
    float score;
    int64_t parent;
    int64_t token;
    bool is_finished;
  };

  std::vector<Candidate> best_candidates(std::span<const float> log_probs, int64_t vocabulary) const;
  void keep_open(const std::vector<Candidate>& candidates);
  void keep_finished(const std::vector<Candidate>& candidates);
  void decide(const std::vector<Candidate>& candidates);

  BeamOptions options_;
  std::vector<Beam> open_;
  std::vector<Beam> finished_;  // num_beams places, best first; the free ones score kImpossible
  Step step_;
  int64_t length_ = 0;  // of the open beams
  bool can_improve_ = true;
  bool is_done_ = false;
};

}  // namespace vlm
