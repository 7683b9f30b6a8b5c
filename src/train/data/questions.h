// Conversation turns about a scene. Only what a person would answer the same way is asked: whatever lies
// between two sizes, places or colours is left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/data/scene.h"

namespace vlm::data {

// Something that a turn speaks of: an object, an emoji, or a letter of a text of the scene, by its index.
struct Thing {
  enum class Kind { object, picture, letter };
  Kind kind = Kind::object;
  int64_t index = 0;
  int64_t letter = 0;  // of text `index`
  bool operator==(const Thing&) const = default;
};

// Where a reader of the picture looks: at the end of a phrase of the question, or all along a part of the
// answer.
struct Look {
  bool in_answer = false;
  size_t begin = 0, end = 0;       // characters of the question, or of the answer
  std::vector<Thing> things = {};  // none: what the phrase names is not there
  bool is_second = false;          // the other one of a pair, at which one looks at the same time
  bool counts = false;  // every one once, and once at nothing: what is seen then tells how many there are
};

// colour, shape, size, count, position, relation, existence, comparison, reading, caption, object (emoji),
// chat
struct Turn {
  std::string question;
  std::string answer;
  std::string kind;
  std::vector<Look> looks = {};
};

struct QuestionOptions {
  int64_t turns = 8;  // fewer when the scene does not give them
  double caption_share = 0.07;
  double chat_share = 0.015;
  double hard_weight = 1;  // of counting, relations and comparisons among the kinds
};

std::vector<Turn> ask(const Scene& scene, uint64_t seed, const QuestionOptions& options = {});

}  // namespace vlm::data
