#include "app/cli/commands/answers.h"

#include "app/cli/commands/regions.h"
#include "engine/sampler_defaults.h"

namespace vlm::cli {

namespace {

double rate(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

AnswerOptions answer_options(const AnswerFlags& flags, const Checkpoint& checkpoint) {
  if (flags.temperature && *flags.temperature < 0)
    fail(ErrorKind::bad_request, "give 0 for the likeliest token, about 0.7 for variety",
         "--temperature is {}", *flags.temperature);
  if (flags.num_beams > 1 && flags.temperature.value_or(0) > 0)
    fail(ErrorKind::bad_request, "leave --temperature or --beams out", "beam search does not draw at random");
  const SamplingDefaults defaults = sampling_defaults(checkpoint.generation);
  AnswerOptions options;
  options.max_new_tokens = flags.max_new_tokens.value_or(defaults.max_new_tokens.value_or(512));
  options.stop = flags.stop;
  options.num_beams = flags.num_beams;
  options.length_penalty = flags.length_penalty;
  options.guesses = flags.speculate;
  options.cancel = &interrupted;
  SamplingOptions& sampling = options.sampling = defaults.sampling;
  if (flags.num_beams > 1) sampling.do_sample = false;
  if (flags.temperature) {
    sampling.do_sample = *flags.temperature > 0;
    sampling.temperature = sampling.do_sample ? *flags.temperature : 1;
  }
  if (!sampling.do_sample && (flags.top_k || flags.top_p || flags.min_p))
    log(LogLevel::warn, "--top-k, --top-p and --min-p have no effect at --temperature 0");
  sampling.top_k = flags.top_k.value_or(sampling.top_k);
  sampling.top_p = flags.top_p.value_or(sampling.top_p);
  sampling.min_p = flags.min_p.value_or(sampling.min_p);
  sampling.repetition_penalty = flags.repetition_penalty.value_or(sampling.repetition_penalty);
  sampling.presence_penalty = flags.presence_penalty;
  sampling.frequency_penalty = flags.frequency_penalty;
  sampling.seed = flags.seed;
  log(LogLevel::debug, "sampling: {}", sampling_json(options).dump());
  return options;
}

nlohmann::ordered_json sampling_json(const AnswerOptions& options) {
  const SamplingOptions& sampling = options.sampling;
  nlohmann::ordered_json json{{"do_sample", sampling.do_sample}};
  if (sampling.do_sample)
    json.update({{"temperature", sampling.temperature},
                 {"top_k", sampling.top_k},
                 {"top_p", sampling.top_p},
                 {"min_p", sampling.min_p},
                 {"seed", sampling.seed}});
  json.update({{"repetition_penalty", sampling.repetition_penalty},
               {"no_repeat_ngram_size", sampling.no_repeat_ngram_size},
               {"num_beams", options.num_beams},
               {"max_new_tokens", options.max_new_tokens}});
  return json;
}

ChatMessage user_message(size_t num_images, size_t num_videos, const std::string& text) {
  ChatMessage message{"user", {}};
  for (size_t idx = 0; idx < num_images; ++idx) message.content.push_back({ContentPart::Kind::image, ""});
  for (size_t idx = 0; idx < num_videos; ++idx) message.content.push_back({ContentPart::Kind::video, ""});
  message.content.push_back({ContentPart::Kind::text, text});
  return message;
}

std::string rest_of(const ParsedAnswer& read, size_t told) {
  std::string rest = read.text.substr(std::min(told, read.text.size()));
  return rest + "\n" + regions_text(read.regions) + calls_text(read.calls);
}

std::string stats_text(const DecodeTimes& times) {
  int64_t images = times.images_encoded + times.images_reused,
          fresh = times.tokens_prompt - times.tokens_reused;
  std::string text;
  if (images > 0)
    text = fmt::format("encode {} ({} picture{}{}), ", seconds_text(times.encode), images,
                       images == 1 ? "" : "s",
                       times.images_reused > 0 ? fmt::format(", {} known", times.images_reused) : "");
  text += fmt::format("prefill {} ({} tokens, {:.0f}/s{})", seconds_text(times.prefill), fresh,
                      rate(fresh, times.prefill),
                      times.tokens_reused > 0 ? fmt::format(", {} known", times.tokens_reused) : "");
  return text + fmt::format(", decode {} ({} tokens, {:.1f}/s)", seconds_text(times.decode),
                            times.tokens_generated, rate(times.tokens_generated, times.decode));
}

nlohmann::ordered_json usage_json(const DecodeTimes& times) {
  return {{"prompt_tokens", times.tokens_prompt},
          {"completion_tokens", times.tokens_generated},
          {"total_tokens", times.tokens_prompt + times.tokens_generated},
          {"completion_tokens_details",
           {{"accepted_prediction_tokens", times.tokens_accepted},
            {"rejected_prediction_tokens", times.tokens_guessed - times.tokens_accepted}}}};
}

nlohmann::ordered_json stats_json(const DecodeTimes& times) {
  return {{"encode_s", times.encode},
          {"prefill_s", times.prefill},
          {"decode_s", times.decode},
          {"tokens_prompt", times.tokens_prompt},
          {"tokens_reused", times.tokens_reused},
          {"tokens_generated", times.tokens_generated},
          {"images_encoded", times.images_encoded},
          {"images_reused", times.images_reused}};
}

}  // namespace vlm::cli
