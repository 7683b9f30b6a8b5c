#include "system/chat.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace vlm {

std::string render_prompt(const Request& request, const ChatTemplate& chat_template,
                          const TokenizerInfo& info, bool add_generation_prompt) {
  if (request.messages.empty()) {
    if (request.prompt.empty())
      fail(ErrorKind::bad_request, "give a question", "the request has neither messages nor a prompt");
    return request.prompt;
  }
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  for (const ChatMessage& message : request.messages) {
    nlohmann::ordered_json content = nlohmann::ordered_json::array();
    for (const ContentPart& part : message.content) {
      if (part.kind == ContentPart::Kind::image)
        content.push_back({{"type", "image"}});
      else if (part.kind == ContentPart::Kind::video)
        content.push_back({{"type", "video"}});
      else
        content.push_back({{"type", "text"}, {"text", part.text}});
    }
    messages.push_back({{"role", message.role}, {"content", content}});
  }
  nlohmann::ordered_json context{
      {"messages", messages},        {"add_generation_prompt", add_generation_prompt},
      {"bos_token", info.bos_token}, {"eos_token", info.eos_token},
      {"unk_token", info.unk_token}, {"pad_token", info.pad_token}};
  return chat_template.render(context);
}

LabelledChat label_chat(const Request& request, const ChatTemplate& chat_template, const TokenizerInfo& info,
                        const std::function<std::vector<int64_t>(const std::string&)>& tokenise) {
  constexpr int64_t kUncounted = -100;
  LabelledChat chat;
  chat.text = render_prompt(request, chat_template, info, false);
  chat.ids = tokenise(chat.text);
  chat.labels.assign(chat.ids.size(), kUncounted);
  Request before = request;  // the chat cut off at each answer: where its tokens begin and end in the whole
  for (size_t turn = 0; turn < request.messages.size(); ++turn) {
    if (request.messages[turn].role != "assistant") continue;
    auto tokens_up_to = [&](size_t num_messages, bool add_generation_prompt) {
      before.messages.assign(request.messages.begin(),
                             request.messages.begin() + static_cast<int64_t>(num_messages));
      std::vector<int64_t> ids = tokenise(render_prompt(before, chat_template, info, add_generation_prompt));
      size_t common = 0;
      while (common < ids.size() && common < chat.ids.size() && ids[common] == chat.ids[common]) ++common;
      return common;
    };
    size_t begin = tokens_up_to(turn, true), end = tokens_up_to(turn + 1, false);
    for (size_t at = begin; at < end; ++at) chat.labels[at] = chat.ids[at];
  }
  return chat;
}

int64_t count_placeholders(const std::string& text, const std::string& placeholder) {
  int64_t count = 0;
  for (size_t at = text.find(placeholder); at != std::string::npos;
       at = text.find(placeholder, at + placeholder.size()))
    ++count;
  return count;
}

void check_image_count(const std::string& text, const std::string& placeholder, size_t num_images) {
  int64_t count = count_placeholders(text, placeholder);
  if (count == static_cast<int64_t>(num_images)) return;
  fail(ErrorKind::bad_request,
       "put one " + placeholder +
           " for each picture into the prompt, or ask in messages and let the chat template place them",
       "the prompt has {} {} marker{} but {} picture{} given", count, placeholder, count == 1 ? "" : "s",
       num_images, num_images == 1 ? " was" : "s were");
}

}  // namespace vlm
