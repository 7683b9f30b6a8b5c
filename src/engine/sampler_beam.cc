#include "engine/sampler_beam.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace vlm {

namespace {
constexpr float kImpossible =
    -1e9f;  // transformers' own stand-in for minus infinity; sums with it must agree
}

BeamSearch::BeamSearch(BeamOptions options) : options_(std::move(options)) {
  if (options_.num_beams < 1 || options_.num_beams > 1024)
    fail(ErrorKind::bad_request, "choose num_beams within [1, 1024]", "num_beams = {} is out of range",
         options_.num_beams);
  if (options_.max_new_tokens < 1)
    fail(ErrorKind::bad_request, "choose max_new_tokens of at least 1", "max_new_tokens = {} is out of range",
         options_.max_new_tokens);
  auto count = static_cast<size_t>(options_.num_beams);
  open_.assign(count, Beam{{}, kImpossible, false});
  open_[0].score = 0;  // all beams are the prompt: only the first may be continued
  finished_.assign(count, Beam{{}, kImpossible, false});
}

const std::vector<int64_t>& BeamSearch::open_sequence(int64_t beam) const {
  VLM_CHECK(beam >= 0 && beam < options_.num_beams, "beam {} of {}", beam, options_.num_beams);
  return open_[static_cast<size_t>(beam)].tokens;
}

std::vector<BeamSearch::Candidate> BeamSearch::best_candidates(std::span<const float> log_probs,
                                                               int64_t vocabulary) const {
  // So many that num_beams open ones remain even when every beam's best continuations are end tokens.
  auto num_ends = static_cast<int64_t>(options_.eos_ids.size());
  auto wanted = static_cast<size_t>(std::max<int64_t>(2, 1 + num_ends) * options_.num_beams);
  auto is_better = [](const Candidate& left, const Candidate& right) {
    if (left.score != right.score) return left.score > right.score;
    return left.parent != right.parent ? left.parent < right.parent : left.token < right.token;
  };
  std::vector<Candidate> heap;  // the worst of the kept ones on top
  auto num_rows = static_cast<int64_t>(log_probs.size()) / vocabulary;
  for (int64_t parent = 0; parent < options_.num_beams; ++parent) {
    const float* row = log_probs.data() + (parent < num_rows ? parent : 0) * vocabulary;
    float score = open_[static_cast<size_t>(parent)].score;
    for (int64_t token = 0; token < vocabulary; ++token) {
      Candidate candidate{score + row[token], parent, token, false};
      if (std::isnan(candidate.score)) continue;
      if (heap.size() == wanted) {
        if (!is_better(candidate, heap.front())) continue;
        std::pop_heap(heap.begin(), heap.end(), is_better);
        heap.pop_back();
      }
      heap.push_back(candidate);
      std::push_heap(heap.begin(), heap.end(), is_better);
    }
  }
  std::sort_heap(heap.begin(), heap.end(), is_better);
  bool is_last = length_ + 1 >= options_.max_new_tokens;
  for (Candidate& candidate : heap)
    candidate.is_finished = is_last || std::find(options_.eos_ids.begin(), options_.eos_ids.end(),
                                                 candidate.token) != options_.eos_ids.end();
  return heap;
}

void BeamSearch::keep_open(const std::vector<Candidate>& candidates) {
  std::vector<Candidate> ranked = candidates;
  for (Candidate& candidate : ranked)
    if (candidate.is_finished) candidate.score += kImpossible;
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const Candidate& left, const Candidate& right) { return left.score > right.score; });
  std::vector<Beam> open;
  step_ = Step{};
  for (size_t beam = 0; beam < open_.size(); ++beam) {
    const Candidate& candidate = ranked[std::min(beam, ranked.size() - 1)];
    Beam next = open_[static_cast<size_t>(candidate.parent)];
    next.tokens.push_back(candidate.token);
    next.score = candidate.score;
    open.push_back(std::move(next));
    step_.parents.push_back(candidate.parent);
    step_.tokens.push_back(candidate.token);
  }
  open_ = std::move(open);
}

void BeamSearch::keep_finished(const std::vector<Candidate>& candidates) {
  bool are_full =
      std::all_of(finished_.begin(), finished_.end(), [](const Beam& beam) { return beam.is_finished; });
  if ((are_full && options_.early_stopping == EarlyStopping::yes) || !can_improve_) return;
  auto divisor = static_cast<float>(std::pow(static_cast<double>(length_ + 1), options_.length_penalty));
  // Only the best num_beams candidates count; the others are there to continue with.
  for (size_t idx = 0; idx < candidates.size() && idx < open_.size(); ++idx) {
    const Candidate& candidate = candidates[idx];
    if (!candidate.is_finished) continue;
    Beam beam = open_[static_cast<size_t>(candidate.parent)];
    beam.tokens.push_back(candidate.token);
    beam.score = candidate.score / divisor;
    beam.is_finished = true;
    finished_.push_back(std::move(beam));
  }
  std::stable_sort(finished_.begin(), finished_.end(),
                   [](const Beam& left, const Beam& right) { return left.score > right.score; });
  finished_.resize(open_.size());
}

void BeamSearch::decide(const std::vector<Candidate>& candidates) {
  bool favours_length = options_.early_stopping == EarlyStopping::never && options_.length_penalty > 0;
  auto length = static_cast<double>(favours_length ? options_.max_new_tokens : length_);
  float best_open = open_[0].score / static_cast<float>(std::pow(length, options_.length_penalty));
  bool are_full =
      std::all_of(finished_.begin(), finished_.end(), [](const Beam& beam) { return beam.is_finished; });
  can_improve_ = can_improve_ && best_open > (are_full ? finished_.back().score : kImpossible);
  bool all_end =
      std::all_of(candidates.begin(), candidates.end(), [](const Candidate& one) { return one.is_finished; });
  is_done_ = !can_improve_ || (are_full && options_.early_stopping == EarlyStopping::yes) || all_end;
}

const BeamSearch::Step& BeamSearch::step(std::span<const float> log_probs, int64_t vocabulary) {
  VLM_CHECK(!is_done_, "the beam search is over");
  VLM_CHECK(vocabulary > 0 && static_cast<int64_t>(log_probs.size()) % vocabulary == 0,
            "{} scores, vocabulary {}", log_probs.size(), vocabulary);
  int64_t num_rows = static_cast<int64_t>(log_probs.size()) / vocabulary;
  VLM_CHECK(num_rows == options_.num_beams || (num_rows == 1 && length_ == 0), "{} rows for {} beams",
            num_rows, options_.num_beams);
  std::vector<Candidate> candidates = best_candidates(log_probs, vocabulary);
  if (candidates.empty())
    fail(ErrorKind::bad_checkpoint, "run `vlm verify` on the checkpoint; it may be damaged or need float32",
         "the model gave no finite log-probability");
  keep_finished(candidates);
  keep_open(candidates);
  ++length_;
  decide(candidates);
  return step_;
}

std::vector<BeamSearch::Answer> BeamSearch::answers() const {
  std::vector<Answer> list;
  for (const Beam& beam : finished_)
    if (beam.is_finished) list.push_back({beam.tokens, beam.score});
  return list;
}

}  // namespace vlm
