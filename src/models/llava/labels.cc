#include "models/llava/labels.h"

#include <algorithm>

#include "models/llava/templates.h"
#include "system/system.h"

namespace vlm::llava {

namespace {

// Pictures first, as all were trained.
std::string text_of(const ChatMessage& message, const std::string& image_mark) {
  std::string marks, text;
  for (const ContentPart& part : message.content) {
    if (part.kind != ContentPart::Kind::text) marks += image_mark + "\n";
    text += part.text;
  }
  return marks + text;
}

}  // namespace

LabelledChat label_v0(const Request& request, const LabelArgs& args) {
  constexpr size_t kLearntOfHuman = 2;  // tokens of "###"
  std::string header = kCuriousHuman;
  std::vector<std::string> turns;
  for (const ChatMessage& message : request.messages) {
    if (message.role == "system") {
      header = text_of(message, args.image_mark);
      continue;
    }
    const char* name = message.role == "user" ? "Human" : "Assistant";
    turns.push_back(fmt::format("### {}: {}\n", name, text_of(message, args.image_mark)));
  }
  header += "\n\n";
  LabelledChat chat;
  chat.text = header;
  for (const std::string& turn : turns) chat.text += turn;
  chat.text += "### ";
  chat.ids = chat.labels = args.tokenise(chat.text);
  auto mask = [&](size_t begin, size_t end) {
    end = std::min(end, chat.labels.size());
    if (begin < end)
      std::fill(chat.labels.begin() + static_cast<int64_t>(begin),
                chat.labels.begin() + static_cast<int64_t>(end), kIgnore);
  };
  size_t at = args.tokenise(header).size();
  mask(0, at);
  for (const std::string& turn : turns) {
    size_t length = args.tokenise(turn).size();
    if (turn.starts_with("### Human")) mask(at + kLearntOfHuman, at + length);
    at += length;
  }
  return chat;
}

LabelledChat label_qwen(const Request& request, const LabelArgs& args) {
  LabelledChat chat = label_chat(request, args.chat_template, args.info, args.tokenise);
  std::vector<int64_t> always;
  for (const char* text : {"<|im_start|>", "<|im_end|>", "\n"}) {
    std::vector<int64_t> ids = args.tokenise(text);
    if (ids.size() == 1) always.push_back(ids.front());
  }
  Request before = request;  // up to each answer, whose header begins there
  for (size_t turn = 1; turn < request.messages.size(); ++turn) {
    if (request.messages[turn].role != "assistant") continue;
    before.messages.assign(request.messages.begin(), request.messages.begin() + static_cast<int64_t>(turn));
    std::string text = render_prompt(before, args.chat_template, args.info, /*add_generation_prompt=*/false);
    for (size_t at = args.tokenise(text).size(); at < chat.ids.size() && chat.labels[at] == kIgnore; ++at)
      chat.labels[at] = chat.ids[at];
  }
  for (size_t at = 0; at < chat.ids.size(); ++at)
    if (std::find(always.begin(), always.end(), chat.ids[at]) != always.end()) chat.labels[at] = chat.ids[at];
  return chat;
}

}  // namespace vlm::llava
