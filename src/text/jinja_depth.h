// Counts how deep the interpreter's own recursion is.
#pragma once

#include "text/jinja_interpreter.h"

namespace vlm::jinja {

class Interpreter::Depth {
 public:
  explicit Depth(Interpreter& interpreter) : interpreter_(interpreter) {
    if (++interpreter_.depth_ <= kMaxDepth) return;
    --interpreter_.depth_;
    fail(ErrorKind::bad_checkpoint,
         "a macro calls itself without end, or the chat is nested far too deep for it",
         "the template recurses deeper than {} levels", kMaxDepth);
  }
  ~Depth() { --interpreter_.depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  static constexpr int kMaxDepth = 1000;
  Interpreter& interpreter_;
};

}  // namespace vlm::jinja
