#include <algorithm>

#include "text/tokenizer.h"
#include "text/unicode.h"

namespace vlm {

namespace {

// Enough context for every decoder: what stands further back does not change the text of new tokens.
constexpr size_t kContext = 8;
constexpr size_t kWindow = 32;
constexpr std::string_view kReplacement = "\xef\xbf\xbd";

// Whether bytes that made characters of `sent` turned out to be none: one bad byte spoils the whole run of
// byte tokens. The new tokens are then decoded by themselves.
bool is_rewritten(const std::string& text, const std::string& sent) {
  if (text.starts_with(sent)) return false;
  size_t at = static_cast<size_t>(std::mismatch(text.begin(), text.end(), sent.begin(), sent.end()).first -
                                  text.begin());
  while (at > 0 && at < text.size() && (text[at] & 0xc0) == 0x80) --at;
  return text.compare(at, kReplacement.size(), kReplacement) == 0;
}

// What `text` has beyond `sent`. A decoder may rewrite what it gave before: blanks in front of punctuation
// vanish. What was sent stays; characters of it that come again, blanks
// aside, are not sent twice.
std::string beyond(const std::string& text, const std::string& sent) {
  if (text.starts_with(sent)) return text.substr(sent.size());
  size_t at = static_cast<size_t>(std::mismatch(text.begin(), text.end(), sent.begin(), sent.end()).first -
                                  text.begin());
  size_t old = at;
  while (at > 0 && at < text.size() && (text[at] & 0xc0) == 0x80) old = --at;
  while (old < sent.size() && at < text.size()) {
    if (sent[old] == ' ') {
      ++old;
    } else if (text[at] == ' ') {
      ++at;
    } else if (size_t length = char_length(text[at]); text.compare(at, length, sent, old, length) == 0) {
      at += length;
      old += length;
    } else {
      break;
    }
  }
  return text.substr(std::min(at, text.size()));
}

}  // namespace

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

std::string StreamDecoder::push(int64_t id) {
  ids_.push_back(id);
  std::string text = tokenizer_->decode(ids_, skip_special_tokens_);
  // A character has at most four bytes: what is still unfinished after more tokens than that is none.
  bool unfinished = text.ends_with(kReplacement) && ids_.size() - emitted_ids_ <= kContext;
  if (text == prefix_text_ || unfinished) return "";
  if (is_rewritten(text, prefix_text_)) {
    ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(emitted_ids_));
    prefix_text_.clear();
    text = tokenizer_->decode(ids_, skip_special_tokens_);
  }
  std::string fresh = beyond(text, prefix_text_);
  prefix_text_ = std::move(text);
  emitted_ids_ = ids_.size();
  // The window moves on. Its first token must leave text behind, because decoders treat the first one
  // specially.
  if (ids_.size() >= kWindow) {
    for (size_t kept = kContext; kept < kWindow / 2; ++kept) {
      std::span<const int64_t> tail = std::span(ids_).last(kept);
      std::string first = tokenizer_->decode(tail.first(1), skip_special_tokens_);
      std::string rest = tokenizer_->decode(tail, skip_special_tokens_);
      bool clean =
          !first.empty() && first.find(kReplacement) == first.npos && rest.find(kReplacement) == rest.npos;
      if (!clean && ids_.size() < 4 * kWindow) continue;
      ids_.erase(ids_.begin(), ids_.end() - static_cast<std::ptrdiff_t>(kept));
      emitted_ids_ = ids_.size();
      prefix_text_ = std::move(rest);
      break;
    }
  }
  return fresh;
}

std::string StreamDecoder::finish() {
  std::string text = tokenizer_->decode(ids_, skip_special_tokens_);
  std::string fresh = is_rewritten(text, prefix_text_)
                          ? tokenizer_->decode(std::span(ids_).subspan(emitted_ids_), skip_special_tokens_)
                          : beyond(text, prefix_text_);
  ids_.clear();
  emitted_ids_ = 0;
  prefix_text_.clear();
  return fresh;
}

}  // namespace vlm
