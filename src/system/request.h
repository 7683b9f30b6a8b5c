// What is asked of a model: a chat or a raw prompt, with pictures.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "media/image.h"

namespace vlm {

struct ContentPart {
  enum class Kind { text, image };
  Kind kind = Kind::text;
  std::string text;  // of a text part; pictures are taken from Request::images in order
};

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::vector<ContentPart> content;

  static ChatMessage text(std::string role, std::string text) {
    return {std::move(role), {{ContentPart::Kind::text, std::move(text)}}};
  }
};

struct Request {
  std::vector<ChatMessage> messages;  // a chat; the system's or the checkpoint's template makes the prompt
  std::string prompt;         // or, when there are no messages: the prompt verbatim, placeholders included
  std::vector<Image> images;  // in the order of their places in the text
  std::optional<std::string> target;  // training: the answer, appended verbatim to the prompt
};

}  // namespace vlm
