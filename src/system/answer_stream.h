// Answers in a notation, told to people while they come.
#pragma once

#include <string>

#include "system/request.h"

namespace vlm {

// Beside AnswerReader, by systems whose text can be read from the front.
class AnswerStreamer {
 public:
  virtual ~AnswerStreamer() = default;
  // The beginning of read_answer()'s text that is certain, whatever `text`, the readable text so far, goes on
  // with. Notation that is still open is held back, and so is all behind it.
  virtual std::string settled_text(const std::string& text, const Request& request) const = 0;
};

}  // namespace vlm
