#pragma once

#include "system/request.h"

namespace vlm {

// For systems that learn one answer to one prompt: a chat that ends with the assistant's turn becomes the
// chat before it, with that turn as the target. Throws bad_request when there is nothing to learn.
Request prompt_and_target(Request request);

}  // namespace vlm
