// Florence-2's fixed list of tasks: what each asks in words, and in which notation it is answered.
#pragma once

#include <string>
#include <vector>

#include "system/request.h"

namespace vlm::florence {

enum class Notation {
  text,
  labelled_boxes,              // label<loc><loc><loc><loc>..., every further four repeat the label
  phrases,                     // the same, of phrases in a caption; pronouns are left out
  boxes,                       // without labels
  quads,                       // text and four corners
  polygons,                    // without labels, parts separated by <sep>
  labelled_boxes_or_polygons,  // polygons where <poly> occurs
};

struct Task {
  const char* name;      // "<OD>"
  const char* question;  // {input} stands for what the caller adds; without it the task takes nothing
  Notation notation;
  bool is_of_region = false;  // its input is a place
  bool takes_input() const;
};

// A request in the words the model was trained with.
struct Question {
  const Task* task = nullptr;  // null: a free question
  std::string text;
};
// The task comes from Request::task_prompt or stands in the text ("<OD>"); the rest of the text, or the
// request's box as location tokens, is its input. Throws bad_request for an unknown task, and for an input
// that is missing or has no place.
Question question_of(const Request& request, const std::string& text);

// The 1024 tokens that the authors' code adds to BART's behind all others.
std::vector<std::string> location_tokens();

}  // namespace vlm::florence
