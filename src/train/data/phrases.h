// A small grammar of phrasings.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "train/data/random.h"

namespace vlm::data {

using Slots = std::map<std::string, std::string>;

// "(What|Which) colo(u|)r is {it}?": one of the alternatives is taken, slots are filled.
std::string expand(const std::string& pattern, const Slots& slots, Rng& rng);

enum class AnswerForm { word, yes_no, number, text, sentence };
// As expand(), then sometimes polite, in lower case, without a question mark, or with a note about the form
// of the answer. The slot "word" keeps its case.
// `filled`: where the slots' texts stand in the result.
struct FilledSlot {
  std::string slot;
  size_t begin = 0, end = 0;
};
std::string question(const std::string& pattern, const Slots& slots, AnswerForm form, Rng& rng,
                     std::vector<FilledSlot>* filled = nullptr);

}  // namespace vlm::data
