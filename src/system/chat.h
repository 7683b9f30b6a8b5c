// Chats to prompts.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "system/checkpoint.h"
#include "system/request.h"

namespace vlm {

// The prompt of a request: its raw prompt, or its messages through `chat_template` with a place for the
// answer at the end. Throws bad_request for an empty request, a picture too many or too few.
std::string render_prompt(const Request& request, const ChatTemplate& chat_template,
                          const TokenizerInfo& info, bool add_generation_prompt = true);

// A whole chat as training reads it: ids, and labels that count the assistant's turns (answer and whatever
// the template puts behind it before the next turn's text) and nothing else. Placeholders are not expanded.
struct LabelledChat {
  std::string text;
  std::vector<int64_t> ids;
  std::vector<int64_t> labels;  // the id itself where it counts, -100 elsewhere
};
LabelledChat label_chat(const Request& request, const ChatTemplate& chat_template, const TokenizerInfo& info,
                        const std::function<std::vector<int64_t>(const std::string&)>& tokenise);

// How many image parts the messages hold; of a raw prompt, how often `placeholder` occurs.
int64_t count_placeholders(const std::string& text, const std::string& placeholder);

// Throws bad_request when the prompt's placeholders and the pictures differ in number.
void check_image_count(const std::string& text, const std::string& placeholder, size_t num_images);

}  // namespace vlm
