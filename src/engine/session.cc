#include "engine/session.h"

#include <algorithm>

#include "engine/notation_stream.h"
#include "engine/sampler_beam.h"
#include "engine/sampler_stop.h"

namespace vlm {

namespace {

std::vector<std::string> all_stops(const Generator& generator, const AnswerOptions& options) {
  std::vector<std::string> stops = generator.stop_strings();
  stops.insert(stops.end(), options.stop.begin(), options.stop.end());
  return stops;
}

}  // namespace

const char* finish_name(Finish finish) {
  switch (finish) {
    case Finish::eos:
    case Finish::stopped:
      return "stop";
    case Finish::length:
    case Finish::context_full:
      return "length";
    case Finish::cancelled:
      return "cancelled";
  }
  return "stop";
}

Session::Session(std::shared_ptr<const LoadedModel> loaded, std::shared_ptr<FeatureCache> cache)
    : loaded_(std::move(loaded)), generator_(as<Generator>(*loaded_->model)), cache_(std::move(cache)) {
  if (!generator_)
    fail(ErrorKind::unsupported, "use `vlm embed`, `vlm similarity` or `vlm classify`",
         "{} does not generate text", loaded_->system->slug);
  loaded_->checkpoint.tokens();
}

// Rules about repetition read what the decoder reads: an encoder's prompt is none of it.
std::span<const int64_t> Session::rule_ids(const Prompt& prompt) const {
  return generator_->is_encoder_decoder() ? std::span<const int64_t>() : std::span<const int64_t>(prompt.ids);
}

ParsedAnswer Session::read(const Answer& answer, const Request& request) const {
  const auto* reader = as<AnswerReader>(*loaded_->model);
  if (!reader) return {answer.text, {}, {}};
  const Tokenizer& tokenizer = *loaded_->checkpoint.tokenizer.tokenizer;
  std::string text = reader->readable_text(tokenizer, answer.ids, request);
  if (!answer.matched_stop.empty()) text.resize(std::min(text.rfind(answer.matched_stop), text.size()));
  return reader->read_answer(text, request);
}

void Session::forget() {
  memory_ = {};
}

Answer Session::answer(const Request& request, const AnswerOptions& options,
                       const std::function<void(const std::string&)>& on_text) {
  if (options.max_new_tokens < 1)
    fail(ErrorKind::bad_request, "give a number of at least 1", "max_new_tokens is {}",
         options.max_new_tokens);
  if (options.guesses < 0 || options.guesses > kMostGuesses)
    fail(ErrorKind::bad_request, fmt::format("give a number of at most {}, or 0 for none", kMostGuesses),
         "speculation with {} tokens at once", options.guesses);
  if (options.guesses > 0 && options.num_beams > 1)
    fail(ErrorKind::bad_request, "leave one of them out",
         "beam search goes several ways at once: no single next token can be guessed");
  Prompt prompt = generator_->prepare(request);
  if (options.on_prepared) options.on_prepared();
  if (options.num_beams > 1) return search_beams(prompt, options);

  SamplingOptions sampling = options.sampling;
  sampling.eos_ids = generator_->eos_ids();
  sampling.max_new_tokens = options.max_new_tokens;
  add_rules(sampling, generator_->rules());
  check_options(sampling);
  Sampler sampler(sampling);
  StreamDecoder stream(loaded_->checkpoint.tokenizer.tokenizer, options.skip_special_tokens);
  StopMatcher stops(all_stops(*generator_, options));
  std::optional<NotationStream> notation;
  if (on_text && options.reads_notation && as<AnswerReader>(*loaded_->model))
    notation.emplace(*loaded_, request, all_stops(*generator_, options));
  Answer answer;
  auto tell = [&](const std::string& text) {
    if (on_text && !text.empty()) on_text(text);
  };
  auto emit = [&](const std::string& text) {
    answer.text += text;
    if (!notation) tell(text);
  };

  DecodeOptions decoding;
  decoding.max_new_tokens = options.max_new_tokens;
  decoding.eos_ids = sampling.eos_ids;
  decoding.cancel = options.cancel;
  decoding.guesses = options.guesses;
  decoding.kv_precision = loaded_->kv_precision;
  decoding.pick = [&](std::span<float> logits, std::span<const int64_t> generated) {
    int64_t id = sampler.next(logits, rule_ids(prompt), generated);
    if (sampling.num_alternatives > 0) answer.choices.push_back(sampler.last());
    return id;
  };
  decoding.on_id = [&](int64_t id) {
    emit(stops.push(stream.push(id)));
    if (notation) tell(notation->push(id));
    return !stops.is_hit();
  };
  DecodeResult result = decode(*generator_, prompt, memory_, cache_.get(), decoding);
  if (!stops.is_hit()) emit(stops.push(stream.finish()));
  if (!stops.is_hit()) emit(stops.finish());
  answer.matched_stop = stops.matched();
  answer.ids = std::move(result.ids);
  answer.finish = result.finish;
  answer.times = result.times;
  answer.choices.resize(
      std::min(answer.choices.size(), answer.ids.size()));  // the end token was chosen, but is not handed on
  return answer;
}

Answer Session::search_beams(const Prompt& prompt, const AnswerOptions& options) {
  at::NoGradGuard no_grad;
  SamplingOptions sampling = options.sampling;
  sampling.eos_ids = generator_->eos_ids();
  sampling.max_new_tokens = options.max_new_tokens;
  add_rules(sampling, generator_->rules());
  BeamOptions beam_options{
      .num_beams = options.num_beams,
      .max_new_tokens = options.max_new_tokens,
      .length_penalty = options.length_penalty,
      .early_stopping = generator_->rules().stops_beams_early ? EarlyStopping::yes : EarlyStopping::no,
      .eos_ids = generator_->eos_ids()};
  BeamSearch search(beam_options);
  Answer answer;
  std::vector<Tensor> features = encode_media(*generator_, prompt, cache_.get(), answer.times);
  std::vector<Sequence> beams(1);
  beams[0].cache.set_precision(loaded_->kv_precision);
  Tensor logits = generator_->prefill(prompt, features, beams[0], /*all_rows=*/false);
  while (!search.is_done() && !(options.cancel && options.cancel->load())) {
    Tensor log_probs = at::log_softmax(logits, -1).contiguous();
    int64_t vocabulary = log_probs.size(1);
    for (int64_t row = 0; row < log_probs.size(0); ++row) {
      std::span<float> scores(log_probs.data_ptr<float>() + row * vocabulary,
                              static_cast<size_t>(vocabulary));
      std::vector<int64_t> so_far =
          row == 0 && log_probs.size(0) == 1 ? std::vector<int64_t>{} : search.open_sequence(row);
      apply_rules(sampling, scores, rule_ids(prompt), so_far);
    }
    const BeamSearch::Step& step =
        search.step({log_probs.data_ptr<float>(), static_cast<size_t>(log_probs.numel())}, vocabulary);
    if (search.is_done()) break;
    std::vector<Sequence> continued;
    for (int64_t parent : step.parents) {
      const Sequence& from = beams[std::min(static_cast<size_t>(parent), beams.size() - 1)];
      Sequence copy;  // before the first step every beam is the prompt
      copy.cache = from.cache.clone();
      copy.extra = from.extra;
      continued.push_back(std::move(copy));
    }
    beams = std::move(continued);
    std::vector<Generator::Continuation> batch;
    for (size_t beam = 0; beam < beams.size(); ++beam) batch.push_back({{step.tokens[beam]}, &beams[beam]});
    logits = generator_->extend(batch);
  }
  std::vector<BeamSearch::Answer> answers = search.answers();
  if (!answers.empty()) answer.ids = answers.front().tokens;
  const std::vector<int64_t>& ends = beam_options.eos_ids;
  answer.finish = Finish::length;
  if (!answer.ids.empty() && std::find(ends.begin(), ends.end(), answer.ids.back()) != ends.end()) {
    answer.ids.pop_back();
    answer.finish = Finish::eos;
  }
  answer.text = loaded_->checkpoint.tokenizer.tokenizer->decode(answer.ids, options.skip_special_tokens);
  StopMatcher stops(all_stops(*generator_, options));
  std::string kept = stops.push(answer.text);
  answer.text = kept + (stops.is_hit() ? "" : stops.finish());
  answer.times.tokens_prompt = static_cast<int64_t>(prompt.ids.size());
  answer.times.tokens_generated = static_cast<int64_t>(answer.ids.size());
  return answer;
}

}  // namespace vlm
