// What is asked of a model: a chat or a raw prompt, with pictures and videos.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "media/draw.h"
#include "media/image.h"
#include "media/video.h"

namespace vlm {

struct ContentPart {
  enum class Kind { text, image, video };
  Kind kind = Kind::text;
  std::string text;  // of a text part; media are taken from Request::images and Request::videos in order
};

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::vector<ContentPart> content;

  static ChatMessage text(std::string role, std::string text) {
    return {std::move(role), {{ContentPart::Kind::text, std::move(text)}}};
  }
};

// Places that a question speaks of, in pixels of the original image.
struct RegionPrompt {
  std::vector<std::array<double, 4>> boxes_xyxy;
  std::vector<Point> points;
  std::vector<int64_t> point_labels;  // for each point: 1 inside what is meant, 0 outside
  std::vector<Image> masks;           // white where it is
};

struct Request {
  std::vector<ChatMessage> messages;  // a chat; the system's or the checkpoint's template makes the prompt
  std::string prompt;         // or, when there are no messages: the prompt verbatim, placeholders included
  std::vector<Image> images;  // in the order of their places in the text
  std::vector<Video> videos;  // likewise
  std::string task_prompt;    // of systems with a fixed list of tasks: "<OD>"
  RegionPrompt regions;
  std::optional<std::string> target;  // training: the answer, appended verbatim to the prompt
};

}  // namespace vlm
