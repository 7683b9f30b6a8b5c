// Conversation turns about a scene. Only what a person would answer the same way is asked: whatever lies
// between two sizes, places or colours is left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/data/scene.h"

namespace vlm::data {

// colour, shape, size, count, position, relation, existence, comparison, reading, caption, object (emoji),
// chat
struct Turn {
  std::string question;
  std::string answer;
  std::string kind;
};

struct QuestionOptions {
  int64_t turns = 8;  // fewer when the scene does not give them
  double caption_share = 0.07;
  double chat_share = 0.015;
};

std::vector<Turn> ask(const Scene& scene, uint64_t seed, const QuestionOptions& options = {});

}  // namespace vlm::data
