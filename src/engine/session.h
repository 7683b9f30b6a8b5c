// One conversation with a loaded model: requests in, streamed text out. What the command line, the server and
// the public API stand on.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/decode.h"
#include "engine/sampler.h"

namespace vlm {

struct AnswerOptions {
  int64_t max_new_tokens = 512;
  SamplingOptions sampling;       // eos_ids and max_new_tokens are filled in here
  std::vector<std::string> stop;  // besides the system's own
  int64_t num_beams = 1;          // more than 1: beam search, which cannot be streamed or sampled
  double length_penalty = 1;
  bool skip_special_tokens = true;
  int64_t guesses = 0;          // DecodeOptions::guesses
  bool reads_notation = false;  // `on_text` gets the beginning of what read() makes of the answer
  const std::atomic<bool>* cancel = nullptr;
  // Called when the request has become a prompt: from then on only the sizes of its pictures are asked for.
  std::function<void()> on_prepared;
};

struct Answer {
  std::string text;
  std::vector<int64_t> ids;
  Finish finish = Finish::length;
  std::string matched_stop;  // the stop string that ended it; `ids` still hold it
  DecodeTimes times;
  std::vector<Choice> choices;  // one for each id when sampling.num_alternatives > 0
};
const char* finish_name(
    Finish finish);  // "stop", "length", "cancelled": the words of OpenAI's API where it has one

class Session {
 public:
  // Sessions of one model may share a cache; null: none. Throws unsupported when the model does not generate
  // text.
  Session(std::shared_ptr<const LoadedModel> loaded, std::shared_ptr<FeatureCache> cache);

  // `on_text` gets whole characters as they come; it may be empty. With reads_notation, of systems that have
  // one, it gets the text for people as far as it is certain; the rest is in read().
  Answer answer(const Request& request, const AnswerOptions& options,
                const std::function<void(const std::string&)>& on_text = {});
  // The answer without the system's notation, and the regions and calls that the notation stands for.
  ParsedAnswer read(const Answer& answer, const Request& request) const;
  void forget();  // the next request starts from nothing
  int64_t memory_bytes() const { return memory_.sequence.cache.bytes(); }
  const LoadedModel& loaded() const { return *loaded_; }

 private:
  Answer search_beams(const Prompt& prompt, const AnswerOptions& options);
  std::span<const int64_t> rule_ids(const Prompt& prompt) const;

  std::shared_ptr<const LoadedModel> loaded_;
  const Generator* generator_;
  std::shared_ptr<FeatureCache> cache_;
  Memory memory_;
};

}  // namespace vlm
