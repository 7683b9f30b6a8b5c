#pragma once

#include <string>

#include "models/florence/tasks.h"
#include "system/answer.h"

namespace vlm::florence {

// Reads an answer of one task, by the rules of the authors' post-processing. `text`: without <s>, </s>,
// <pad>.
ParsedAnswer read_notation(const std::string& text, Notation notation, int64_t height, int64_t width);

}  // namespace vlm::florence
