// A reference case as data: what to run, what to expect (docs/reference-cases.md).
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "system/checkpoint.h"
#include "system/request.h"
#include "weights/source.h"

namespace vlm {

struct ReferenceCase {
  std::filesystem::path folder;
  std::string system, task;
  std::filesystem::path base;        // of delta weights: the folder of what they are added to
  Request request;                   // of generate and train cases of chat-like systems
  std::vector<std::string> texts;    // of dual encoders
  std::vector<std::string> answers;  // that a question is to choose from
  int64_t max_new_tokens = 0, num_beams = 1;
  struct Check {
    std::string tensor;
    bool exact = false;
    double atol = 0, rtol = 0;
  };
  std::vector<Check> checks;
  std::optional<std::string> rendered_prompt;
  // What the system's own reading of the greedy answer gives, where the case says.
  struct ReadAnswer {
    std::optional<std::string> text, caption;  // as generated, with its special tokens; for people
    std::optional<std::vector<std::string>> labels;
    std::vector<std::array<int64_t, 2>> spans;
  };
  ReadAnswer answer;
  std::shared_ptr<const TensorSource> expected;

  // Throws bad_request or bad_checkpoint for what is no case, naming file and key.
  static ReferenceCase read(const std::filesystem::path& folder);
  Checkpoint open_checkpoint() const;
};

}  // namespace vlm
