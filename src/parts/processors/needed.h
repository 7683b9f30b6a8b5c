#pragma once

#include <optional>

#include "base/error.h"

namespace vlm {

// What preprocessor_config.json was read into. Throws bad_checkpoint when the checkpoint has none: text alone
// works without it, so it is missed only when a picture comes.
template <typename Processor>
const Processor& needed(const std::optional<Processor>& processor) {
  if (!processor)
    fail(ErrorKind::bad_checkpoint, "get preprocessor_config.json of this checkpoint",
         "the checkpoint says nothing about its pictures");
  return *processor;
}

}  // namespace vlm
