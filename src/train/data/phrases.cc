#include "train/data/phrases.h"

#include <cctype>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace vlm::data {
namespace {

// Takes one of the alternatives at every level; `at` stands behind the opening bracket, or at the start.
std::string choose(std::string_view pattern, size_t& at, Rng& rng) {
  std::vector<std::string> alternatives(1);
  for (; at < pattern.size() && pattern[at] != ')'; ++at) {
    if (pattern[at] == '(') {
      ++at;
      alternatives.back() += choose(pattern, at, rng);
    } else if (pattern[at] == '|') {
      alternatives.emplace_back();
    } else {
      alternatives.back() += pattern[at];
    }
  }
  return rng.pick(alternatives);
}

std::string fill(const std::string& text, const Slots& slots, std::vector<FilledSlot>* filled = nullptr) {
  std::string result;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '{') {
      result += text[at];
      continue;
    }
    size_t end = text.find('}', at);
    auto slot = slots.find(text.substr(at + 1, end - at - 1));
    VLM_CHECK(end != std::string::npos && slot != slots.end(), "slot in pattern {}", text);
    if (filled) filled->push_back({slot->first, result.size(), result.size() + slot->second.size()});
    result += slot->second;
    at = end;
  }
  return result;
}

void to_lower(std::string& text) {
  for (char& letter : text) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
}

const char* note(AnswerForm form) {
  switch (form) {
    case AnswerForm::word:
      return "( Answer with one word.| Answer briefly.| Just the word, please.| Please be brief.| Short "
             "answer.)";
    case AnswerForm::yes_no:
      return "( Answer yes or no.| Yes or no?| Please answer yes or no.| Reply with yes or no.)";
    case AnswerForm::number:
      return "( Answer with a number.| Just the number.| Give a number.| Please answer with a number.)";
    case AnswerForm::text:
      return "( Just the text.| Write only the text.| Please be exact.| Nothing else.)";
    case AnswerForm::sentence:
      return "( Thank you.| Please.| Thanks!)";
  }
  return "";
}

}  // namespace

std::string expand(const std::string& pattern, const Slots& slots, Rng& rng) {
  size_t at = 0;
  return fill(choose(pattern, at, rng), slots);
}

std::string question(const std::string& pattern, const Slots& slots, AnswerForm form, Rng& rng,
                     std::vector<FilledSlot>* filled) {
  size_t at = 0;
  std::string text = choose(pattern, at, rng);
  if (rng.chance(0.08)) {
    at = 0;
    std::string start = choose(
        "(Look at the (picture|image).|Hello!|Hi!|Hi there,|Hey,|Please answer:|Quick question:|Please tell "
        "me:|"
        "In (this|the) (picture|image|scene),|A question about the (picture|image):|Excuse me,|Tell me:)",
        at, rng);
    char end = start.back();
    if (end == ',' || end == ':')
      text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
    text = start + " " + text;
  }
  bool asks = text.back() == '?';
  if (rng.chance(0.07)) {
    at = 0;
    text += choose(note(form), at, rng);
  } else if (asks && rng.chance(0.03)) {
    text.insert(text.size() - 1, ", please");
  } else if (rng.chance(0.08)) {
    text.pop_back();  // the question mark or the full stop
  }
  if (rng.chance(0.12)) to_lower(text);
  return fill(text, slots, filled);
}

}  // namespace vlm::data
