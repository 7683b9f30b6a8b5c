// The text that people read, told token by token while the answer's notation is held back.
#pragma once

#include <string>
#include <vector>

#include "engine/sampler_stop.h"
#include "system/answer_stream.h"
#include "system/system.h"

namespace vlm {

class NotationStream {
 public:
  // Nothing is told before the end when the model has no AnswerStreamer. Both stay with the caller.
  NotationStream(const LoadedModel& loaded, const Request& request, std::vector<std::string> stops);

  // What has become certain with this token.
  std::string push(int64_t id);

 private:
  const LoadedModel& loaded_;
  const Request& request_;
  const AnswerReader* reader_;
  const AnswerStreamer* streamer_;
  StopMatcher stops_;
  std::vector<int64_t> ids_;
  std::string told_;
};

}  // namespace vlm
