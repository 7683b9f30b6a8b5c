#include <atomic>
#include <exception>

#include "app/capi/handles.h"

namespace vlm::v0 {

struct Chat::Data {
  Session session;
  std::vector<Message> messages;
};

namespace {

AnswerOptions engine_options(const AskOptions& options) {
  if (options.num_beams < 1)
    fail(ErrorKind::bad_request, "give a number of at least 1", "num_beams is {}", options.num_beams);
  if (options.num_beams > 1 && options.temperature > 0)
    fail(ErrorKind::bad_request, "leave num_beams at 1 or temperature at 0",
         "beam search (num_beams {}) does not draw at random (temperature {})", options.num_beams,
         options.temperature);
  AnswerOptions engine;
  engine.max_new_tokens = options.max_new_tokens;
  engine.sampling.do_sample = options.temperature > 0;
  engine.sampling.temperature = options.temperature;
  engine.sampling.top_k = options.top_k;
  engine.sampling.top_p = options.top_p;
  engine.sampling.min_p = options.min_p;
  engine.sampling.repetition_penalty = options.repetition_penalty;
  engine.sampling.presence_penalty = options.presence_penalty;
  engine.sampling.frequency_penalty = options.frequency_penalty;
  engine.sampling.seed = options.seed;
  engine.sampling.no_repeat_ngram_size = options.no_repeat_ngram_size;
  engine.guesses = options.speculate;
  engine.stop = options.stop;
  engine.num_beams = options.num_beams;
  engine.length_penalty = options.length_penalty;
  return engine;
}

Finish finish_from(vlm::Finish finish) {
  switch (finish) {
    case vlm::Finish::eos:
    case vlm::Finish::stopped:
      return Finish::stop;
    case vlm::Finish::length:
    case vlm::Finish::context_full:
      return Finish::length;
    case vlm::Finish::cancelled:
      return Finish::cancelled;
  }
  return Finish::stop;
}

vlm::RegionPrompt engine_regions(const RegionPrompt& from) {
  vlm::RegionPrompt regions;
  regions.boxes_xyxy = from.boxes;
  if (!from.point_is_outside.empty() && from.point_is_outside.size() != from.points.size())
    fail(ErrorKind::bad_request, "give one for each point, or none",
         "{} points, but {} values of point_is_outside", from.points.size(), from.point_is_outside.size());
  for (std::size_t idx = 0; idx < from.points.size(); ++idx) {
    regions.points.push_back({from.points[idx][0], from.points[idx][1]});
    regions.point_labels.push_back(!from.point_is_outside.empty() && from.point_is_outside[idx] ? 0 : 1);
  }
  regions.masks = engine_images(from.masks);
  return regions;
}

Region region_from(vlm::Region&& from) {
  Region region;
  region.label = std::move(from.label);
  region.image = static_cast<std::size_t>(from.image);
  region.score = from.score;
  region.box = from.box_xyxy;
  if (from.point) region.point = Point{from.point->x, from.point->y};
  region.quad = from.quad;
  for (const auto& part : from.polygons) {
    region.polygons.emplace_back();
    for (const vlm::Point& corner : part) region.polygons.back().push_back({corner.x, corner.y});
  }
  region.mask = std::move(from.mask);
  region.span = from.text_span;
  return region;
}

Request request_from(const std::vector<Message>& messages) {
  Request request;
  for (const Message& message : messages) {
    ChatMessage turn{message.role, {}};
    for (const Image& image : message.images) {
      turn.content.push_back({ContentPart::Kind::image, ""});
      request.images.push_back(Access::image(image));
    }
    turn.content.push_back({ContentPart::Kind::text, message.text});
    request.messages.push_back(std::move(turn));
  }
  return request;
}

}  // namespace

Answer answer_in(Session& session, Request request, const AskOptions& options, const OnText& on_text) {
  AnswerOptions engine = enter([&] {
    request.task_prompt = options.task;
    request.regions = engine_regions(options.regions);
    return engine_options(options);
  });
  std::atomic<bool> cancel = false;
  std::exception_ptr thrown;  // by the caller's function; it must not pass for an error of ours
  engine.cancel = &cancel;
  auto hand_on = [&](const std::string& text) {
    if (cancel) return;
    try {
      if (!on_text(text)) cancel = true;
    } catch (...) {
      thrown = std::current_exception();
      cancel = true;
    }
  };
  bool streams = on_text && options.num_beams <= 1;
  vlm::Answer found = enter([&] {
    return session.answer(request, engine, streams ? hand_on : std::function<void(const std::string&)>());
  });
  if (on_text && !streams && !found.text.empty()) hand_on(found.text);
  if (thrown) std::rethrow_exception(thrown);
  Answer answer;
  answer.text = found.text;
  answer.finish = cancel ? Finish::cancelled : finish_from(found.finish);
  answer.tokens_prompt = found.times.tokens_prompt;
  answer.tokens_reused = found.times.tokens_reused;
  answer.tokens_generated = found.times.tokens_generated;
  answer.tokens_guessed = found.times.tokens_guessed;
  answer.tokens_accepted = found.times.tokens_accepted;
  answer.seconds_encode = found.times.encode;
  answer.seconds_prefill = found.times.prefill;
  answer.seconds_decode = found.times.decode;
  ParsedAnswer read = enter([&] { return session.read(found, request); });
  answer.plain_text = std::move(read.text);
  for (vlm::Region& region : read.regions) answer.regions.push_back(region_from(std::move(region)));
  for (vlm::FunctionCall& call : read.calls)
    answer.calls.push_back({std::move(call.name), std::move(call.arguments)});
  return answer;
}

Chat Model::chat(const std::string& system_prompt) const {
  return enter([&] {
    auto data = std::make_unique<Chat::Data>(Chat::Data{Session(data_->loaded, data_->cache), {}});
    if (!system_prompt.empty()) data->messages.push_back({"system", system_prompt, {}});
    return Chat(std::move(data));
  });
}

Chat::Chat(std::unique_ptr<Data> data) : data_(std::move(data)) {}
Chat::Chat(Chat&&) noexcept = default;
Chat& Chat::operator=(Chat&&) noexcept = default;
Chat::~Chat() = default;

Answer Chat::ask(const std::string& text, const std::vector<Image>& images, const AskOptions& options,
                 const OnText& on_text) {
  data_->messages.push_back({"user", text, images});
  try {
    Answer answer =
        answer_in(data_->session, enter([&] { return request_from(data_->messages); }), options, on_text);
    data_->messages.push_back({"assistant", answer.text, {}});
    return answer;
  } catch (...) {
    data_->messages.pop_back();
    data_->session.forget();  // a pass may have been cut short halfway
    throw;
  }
}

const std::vector<Message>& Chat::messages() const {
  return data_->messages;
}

void Chat::add(Message message) {
  if (message.role != "system" && message.role != "user" && message.role != "assistant")
    fail(ErrorKind::bad_request, "use system, user or assistant", "unknown role \"{}\" of a message",
         message.role);
  data_->messages.push_back(std::move(message));
}

void Chat::clear() {
  bool has_system = !data_->messages.empty() && data_->messages.front().role == "system";
  data_->messages.resize(has_system ? 1 : 0);
  data_->session.forget();
}

}  // namespace vlm::v0
