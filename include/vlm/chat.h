// A conversation about pictures.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vlm/abi.h"
#include "vlm/answer.h"
#include "vlm/image.h"

namespace vlm::v0 {

struct Message {
  std::string role;  // "system", "user" or "assistant"
  std::string text;
  std::vector<Image> images;  // before the text
};

// Made by Model::chat(). It remembers what was said, and computes only what a new turn adds. One thread at
// a time; several chats of one model may run at once.
class Chat {
 public:
  Chat(Chat&&) noexcept;
  Chat& operator=(Chat&&) noexcept;
  ~Chat();

  // Adds the question and, when it returns, the answer. When it throws, the chat is as before the call;
  // what `on_text` throws comes out unchanged. An answer that was cancelled is remembered as far as it
  // came.
  Answer ask(const std::string& text, const std::vector<Image>& images = {}, const AskOptions& options = {},
             const OnText& on_text = {});

  const std::vector<Message>& messages() const;
  void add(Message message);  // said elsewhere: an earlier conversation, examples
  void clear();               // back to the system prompt alone

 private:
  friend class Model;
  struct Data;
  explicit Chat(std::unique_ptr<Data> data);
  std::unique_ptr<Data> data_;
};

}  // namespace vlm::v0
