// How an answer is made, and what comes back.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "vlm/abi.h"
#include "vlm/region.h"

namespace vlm::v0 {

struct AskOptions {
  std::int64_t max_new_tokens = 512;
  double temperature = 0;  // 0: the most probable token each time, always the same answer
  std::int64_t top_k = 0;  // 0: off
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  std::uint64_t seed = 0;                 // the same seed draws the same answer
  std::vector<std::string> stop;          // the answer ends before any of these
  std::int64_t num_beams = 1;             // more than 1: beam search, handed to OnText in one piece
  double length_penalty = 1;              // of beam search
  std::string task;                       // of systems with a list of tasks of their own: Florence-2's "<OD>"
  RegionPrompt regions;                   // places that the question speaks of
  std::int64_t no_repeat_ngram_size = 0;  // no run of so many tokens comes twice; 0: off
  // At most so many tokens, up to 7, are guessed from what was said before and checked in one pass: the same
  // answer, sooner where it repeats its prompt or itself. 0: off.
  std::int64_t speculate = 0;
};

// Gets the answer as it comes, in whole characters; false ends it there.
using OnText = std::function<bool(const std::string& text)>;

enum class Finish {
  stop,       // the model ended its answer, or a stop string came
  length,     // max_new_tokens, or the model's context is full
  cancelled,  // OnText returned false
};

struct Answer {
  std::string text;
  Finish finish = Finish::length;
  std::int64_t tokens_prompt = 0;
  std::int64_t tokens_reused = 0;  // of those, known from the turn before
  std::int64_t tokens_generated = 0;
  double seconds_encode = 0;  // pictures
  double seconds_prefill = 0;
  double seconds_decode = 0;
  std::string plain_text;  // `text` without the system's notation of places and calls
  std::vector<Region> regions;
  std::vector<FunctionCall> calls;
  std::int64_t tokens_guessed = 0;   // by speculation
  std::int64_t tokens_accepted = 0;  // of those, part of the answer
};

}  // namespace vlm::v0
