// The loop from a prompt to new tokens: encode media, prefill what is new, decode one by one.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/feature_cache.h"
#include "system/system.h"

namespace vlm {

// A picture or video among the ids: MediaInput's key, and where its placeholders begin.
struct MediaPlace {
  ContentHash key;
  int64_t begin = 0;
};

// What a sequence holds between requests: kept so that a chat's next turn runs only what is new.
struct Memory {
  Sequence sequence;
  std::vector<int64_t> ids;       // whose keys and values lie in the cache
  std::vector<MediaPlace> media;  // of those ids
  int64_t prefix = 0;             // Prompt::prefix of those ids
};

struct DecodeTimes {  // seconds
  double encode = 0, prefill = 0, decode = 0;
  int64_t tokens_prompt = 0;  // of the whole prompt
  int64_t tokens_reused = 0;  // of those, already in memory
  int64_t tokens_generated = 0;
  int64_t tokens_guessed = 0;   // and run ahead of their turn
  int64_t tokens_accepted = 0;  // of those, part of the answer
  int64_t images_encoded = 0, images_reused = 0;
};

// One pass takes up to 8 tokens as it takes one, bit for bit: so many use the same kernels.
constexpr int64_t kMostGuesses = 7;

struct DecodeOptions {
  int64_t max_new_tokens = 512;
  std::vector<int64_t> eos_ids;  // an id of these ends the answer; it is not handed on
  ops::KvPrecision kv_precision = ops::KvPrecision::f32;
  // Picks the next id from logits over the vocabulary; `generated` are the ids so far.
  std::function<int64_t(std::span<float> logits, std::span<const int64_t> generated)> pick;
  // Called for every id; false ends the answer.
  std::function<bool(int64_t id)> on_id;
  const std::atomic<bool>* cancel = nullptr;
  // Speculation: at most so many ids are guessed to follow each one, and run with it in one pass. The answer
  // is the same as without, drawn ones included: every id is picked from the logits behind those before it.
  int64_t guesses = 0;
  // Guesses at most `count` ids that follow; draft_by_lookup when empty.
  std::function<std::vector<int64_t>(std::span<const int64_t> ids, int64_t count)> draft;
};

enum class Finish { eos, length, stopped, cancelled, context_full };

struct DecodeResult {
  std::vector<int64_t> ids;
  Finish finish = Finish::length;
  DecodeTimes times;
};

int64_t pick_greedy(std::span<float> logits, std::span<const int64_t> generated);

// What the media of a prompt feed their encoder, by FORMAT.md's names; tensors of different shapes are left
// out.
std::map<std::string, Tensor> media_tensors(const Prompt& prompt);

// Features of all media of a prompt, in order; cached ones are not computed again. `cache` may be null.
std::vector<Tensor> encode_media(const Generator& generator, const Prompt& prompt, FeatureCache* cache,
                                 DecodeTimes& times);

// Cuts `memory` back to what it shares with the prompt; at least the prompt's last token is left to run.
void keep_common_prefix(Memory& memory, const Prompt& prompt);

// Throws bad_request when the prompt does not fit the model's context.
DecodeResult decode(const Generator& generator, const Prompt& prompt, Memory& memory, FeatureCache* cache,
                    const DecodeOptions& options);

}  // namespace vlm
