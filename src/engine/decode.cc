#include "engine/decode.h"

#include <algorithm>
#include <chrono>

#include "engine/draft.h"

namespace vlm {

namespace {

class Stopwatch {
 public:
  double lap() {
    auto now = std::chrono::steady_clock::now();
    double seconds = std::chrono::duration<double>(now - start_).count();
    start_ = now;
    return seconds;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

bool is_in(const std::vector<int64_t>& ids, int64_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// Pictures of several views, [1, n, 3, H, W]: zeros behind those with fewer, as the references' batches have.
void pad_views(std::vector<Tensor>& pictures) {
  int64_t most = 0;
  for (const Tensor& picture : pictures) most = std::max(most, picture.dim() == 5 ? picture.size(1) : 0);
  for (Tensor& picture : pictures)
    if (picture.dim() == 5 && picture.size(1) < most)
      picture = at::constant_pad_nd(picture, {0, 0, 0, 0, 0, 0, 0, most - picture.size(1)});
}

// Extends a sequence by one id at a time, and runs guesses of the next ones ahead of their turn.
class Lookahead {
 public:
  Lookahead(const Generator& generator, const Prompt& prompt, Memory& memory, const DecodeOptions& options,
            DecodeTimes& times)
      : generator_(generator), memory_(memory), options_(options), times_(times) {
    if (options.guesses == 0) return;
    seen_ = prompt.ids;
    length_ = std::clamp<int64_t>(options.guesses, 1, kMostGuesses);
  }

  // Logits behind the prompt, [1, K].
  std::span<float> start(const Tensor& logits) {
    logits_ = logits.slice(0, -1).contiguous();
    return row(0);
  }

  // Logits behind `id`, which the logits before chose; `most` guesses may follow it.
  std::span<float> follow(int64_t id, int64_t most) {
    seen_.push_back(id);
    if (at_ < guesses_.size() && guesses_[at_] == id) {
      memory_.ids.push_back(id);
      ++times_.tokens_accepted;
      return row(++at_);
    }
    forget_guesses();
    guess(most);
    std::vector<int64_t> ids{id};
    ids.insert(ids.end(), guesses_.begin(), guesses_.end());
    logits_ = generator_.extend({{ids, &memory_.sequence}}).contiguous();
    memory_.ids.push_back(id);
    times_.tokens_guessed += static_cast<int64_t>(guesses_.size());
    return row(0);
  }

  // Cuts the cache back to what is part of the answer.
  void forget_guesses() {
    nn::KvCache& cache = memory_.sequence.cache;
    cache.truncate(cache.length() - static_cast<int64_t>(guesses_.size() - at_));
    // As many as last time and as many again while all are right; after a wrong one, as many as were right.
    if (!guesses_.empty())
      length_ = at_ == guesses_.size() ? std::min({2 * length_, options_.guesses, kMostGuesses})
                                       : std::max<int64_t>(static_cast<int64_t>(at_), 1);
    guesses_.clear();
    at_ = 0;
  }

 private:
  std::span<float> row(size_t idx) {
    auto width = static_cast<size_t>(logits_.size(1));
    return {logits_.data_ptr<float>() + idx * width, width};
  }

  void guess(int64_t most) {
    const int64_t count = std::min(most, length_);
    if (options_.guesses == 0 || count <= 0) return;
    guesses_ = options_.draft ? options_.draft(seen_, count) : draft_by_lookup(seen_, count);
    // What cannot be part of the answer is not run: its end, a picture's places.
    auto is_out = [&](int64_t id) { return id < 0 || id >= logits_.size(1) || is_in(options_.eos_ids, id); };
    guesses_.erase(std::find_if(guesses_.begin(), guesses_.end(), is_out), guesses_.end());
  }

  const Generator& generator_;
  Memory& memory_;
  const DecodeOptions& options_;
  DecodeTimes& times_;
  std::vector<int64_t> seen_;     // prompt and answer
  std::vector<int64_t> guesses_;  // in the cache, behind the last id that was followed before them
  size_t at_ = 0;                 // how many of them turned out right
  int64_t length_ = 0;            // of the next guess
  Tensor logits_;                 // [1 + guesses, K]
};

}  // namespace

int64_t pick_greedy(std::span<float> logits, std::span<const int64_t>) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

std::map<std::string, Tensor> media_tensors(const Prompt& prompt) {
  std::map<std::string, std::vector<Tensor>> parts;
  for (const MediaInput& media : prompt.media) {
    bool is_video = media.kind == MediaInput::Kind::video;
    parts[is_video ? "pixel_values_videos" : "pixel_values"].push_back(media.pixel_values);
    for (const auto& [name, tensor] : media.extra) parts[name].push_back(tensor);
  }
  std::map<std::string, Tensor> joined;
  for (auto& [name, tensors] : parts) {
    pad_views(tensors);
    bool fits = std::all_of(tensors.begin(), tensors.end(), [&](const Tensor& tensor) {
      return tensor.dim() > 0 && tensor.sizes().slice(1) == tensors.front().sizes().slice(1);
    });
    if (fits) joined[name] = at::cat(tensors);
  }
  return joined;
}

std::vector<Tensor> encode_media(const Generator& generator, const Prompt& prompt, FeatureCache* cache,
                                 DecodeTimes& times) {
  std::vector<Tensor> features(prompt.media.size());
  std::vector<const MediaInput*> unknown;
  std::vector<std::pair<size_t, size_t>> places;  // among all media, and which of the unknown it is
  for (size_t idx = 0; idx < prompt.media.size(); ++idx) {
    const MediaInput& media = prompt.media[idx];
    if (std::optional<Tensor> known = cache ? cache->find(media.key) : std::nullopt) {
      features[idx] = *known;
      continue;
    }
    size_t same = 0;  // the same picture may come twice
    while (same < unknown.size() && unknown[same]->key != media.key) ++same;
    if (same == unknown.size()) unknown.push_back(&media);
    places.emplace_back(idx, same);
  }
  std::vector<Tensor> encoded = generator.encode_batch(unknown);
  for (auto [place, idx] : places) features[place] = encoded[idx];
  for (size_t idx = 0; cache && idx < encoded.size(); ++idx) cache->insert(unknown[idx]->key, encoded[idx]);
  times.images_encoded += static_cast<int64_t>(unknown.size());
  times.images_reused += static_cast<int64_t>(prompt.media.size() - unknown.size());
  return features;
}

void keep_common_prefix(Memory& memory, const Prompt& prompt) {
  size_t limit = prompt.ids.empty() ? 0 : prompt.ids.size() - 1;
  bool are_media_same = true;
  // Placeholders of different pictures are the same ids: the prefix ends before the first picture that
  // differs.
  for (size_t idx = 0; idx < std::max(memory.media.size(), prompt.media.size()); ++idx) {
    bool is_same = idx < memory.media.size() && idx < prompt.media.size() &&
                   memory.media[idx].key == prompt.media[idx].key;
    if (is_same) continue;
    are_media_same = false;
    if (idx < memory.media.size()) limit = std::min(limit, static_cast<size_t>(memory.media[idx].begin));
    if (idx < prompt.media.size()) limit = std::min(limit, static_cast<size_t>(prompt.media[idx].begin));
    break;
  }
  size_t common = 0;
  while (common < limit && common < memory.ids.size() && memory.ids[common] == prompt.ids[common]) ++common;
  // What sees a whole prefix depends on all of it.
  size_t prefix = static_cast<size_t>(prompt.prefix);
  bool is_prefix_same = prefix == 0 || (are_media_same && common >= std::min(prefix, limit));
  if (memory.prefix != prompt.prefix || !is_prefix_same) common = 0;
  memory.prefix = prompt.prefix;
  memory.ids.resize(common);
  memory.media.clear();
  for (const MediaInput& media : prompt.media) memory.media.push_back({media.key, media.begin});
  memory.sequence.cache.truncate(static_cast<int64_t>(common));
}

DecodeResult decode(const Generator& generator, const Prompt& prompt, Memory& memory, FeatureCache* cache,
                    const DecodeOptions& options) {
  at::NoGradGuard no_grad;
  DecodeResult result;
  int64_t num_prompt = static_cast<int64_t>(prompt.ids.size()), context = generator.max_positions();
  if (num_prompt == 0) fail(ErrorKind::bad_request, "give a question", "the prompt is empty");
  if (num_prompt >= context && !generator.is_encoder_decoder())
    fail(ErrorKind::bad_request, "shorten the text or give fewer pictures",
         "the prompt takes {} tokens, this model's context is {}", num_prompt, context);
  auto cancelled = [&] { return options.cancel && options.cancel->load(std::memory_order_relaxed); };

  Stopwatch watch;
  bool starts_anew = generator.is_encoder_decoder();
  nn::KvCache& cache_of_sequence = memory.sequence.cache;
  if (starts_anew || cache_of_sequence.precision() != options.kv_precision) memory = {};
  cache_of_sequence.set_precision(options.kv_precision);
  if (!starts_anew) {
    keep_common_prefix(memory, prompt);
    cache_of_sequence.reserve(num_prompt + std::min(options.max_new_tokens, context - num_prompt));
  }
  result.times.tokens_prompt = num_prompt;
  result.times.tokens_reused = static_cast<int64_t>(memory.ids.size());
  std::vector<Tensor> features = encode_media(generator, prompt, cache, result.times);
  result.times.encode = watch.lap();
  Tensor logits = generator.prefill(prompt, features, memory.sequence, /*all_rows=*/false);
  features.clear();
  if (!starts_anew) memory.ids = prompt.ids;
  result.times.prefill = watch.lap();

  auto pick = options.pick ? options.pick : pick_greedy;
  Lookahead ahead(generator, prompt, memory, options, result.times);
  std::span<float> row = ahead.start(logits);
  while (static_cast<int64_t>(result.ids.size()) < options.max_new_tokens) {
    if (cancelled()) {
      result.finish = Finish::cancelled;
      break;
    }
    const int64_t id = pick(row, result.ids);
    if (is_in(options.eos_ids, id)) {
      result.finish = Finish::eos;
      break;
    }
    result.ids.push_back(id);
    if (options.on_id && !options.on_id(id)) {
      result.finish = Finish::stopped;
      break;
    }
    const int64_t left = options.max_new_tokens - static_cast<int64_t>(result.ids.size());
    const int64_t room = context - static_cast<int64_t>(memory.ids.size()) - 1;
    if (room <= 0) {
      result.finish = Finish::context_full;
      break;
    }
    if (left <= 0) break;
    row = ahead.follow(id, std::min(left, room) - 1);
  }
  ahead.forget_guesses();
  result.times.decode = watch.lap();
  result.times.tokens_generated = static_cast<int64_t>(result.ids.size());
  return result;
}

}  // namespace vlm
