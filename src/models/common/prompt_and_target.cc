#include "models/common/prompt_and_target.h"

#include "base/error.h"

namespace vlm {

Request prompt_and_target(Request request) {
  if (request.target) return request;
  if (request.messages.size() < 2 || request.messages.back().role != "assistant")
    fail(ErrorKind::bad_request, "end the chat with the assistant's answer",
         "the example has no answer to learn");
  std::string answer;
  for (const ContentPart& part : request.messages.back().content) answer += part.text;
  request.messages.pop_back();
  request.target = std::move(answer);
  return request;
}

}  // namespace vlm
