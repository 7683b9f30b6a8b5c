#include "engine/notation_stream.h"

namespace vlm {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd", kBlanks = " \t\n\r\v\f";
constexpr size_t kRewritten = 2;

// Without what the next tokens may still change: characters that are not whole yet, and the blanks that some
// decoders take away again in front of punctuation and of "n't" or "'ve".
std::string lasting(std::string text) {
  while (text.ends_with(kReplacement)) text.resize(text.size() - kReplacement.size());
  size_t blank = text.find_last_of(kBlanks);
  if (blank != std::string::npos && text.size() - blank <= 1 + kRewritten) text.resize(blank);
  text.resize(text.find_last_not_of(kBlanks) + 1);
  return text;
}

}  // namespace

NotationStream::NotationStream(const LoadedModel& loaded, const Request& request,
                               std::vector<std::string> stops)
    : loaded_(loaded),
      request_(request),
      reader_(as<AnswerReader>(*loaded.model)),
      streamer_(as<AnswerStreamer>(*loaded.model)),
      stops_(std::move(stops)) {}

std::string NotationStream::push(int64_t id) {
  if (!reader_ || !streamer_ || stops_.is_hit()) return "";
  ids_.push_back(id);
  const Tokenizer& tokenizer = *loaded_.checkpoint.tokenizer.tokenizer;
  std::string settled =
      lasting(streamer_->settled_text(reader_->readable_text(tokenizer, ids_, request_), request_));
  if (settled.size() <= told_.size() || !settled.starts_with(told_)) return "";
  std::string fresh = settled.substr(told_.size());
  told_ = std::move(settled);
  return stops_.push(fresh);
}

}  // namespace vlm
