// Which tokens of a chat the authors' training code counts, where it is not the assistant's turns alone.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "system/chat.h"

namespace vlm::llava {

struct LabelArgs {
  const ChatTemplate& chat_template;
  const TokenizerInfo& info;
  std::string image_mark;  // as it stands in the prompt, with its own marks around it
  std::function<std::vector<int64_t>(const std::string&)> tokenise;
};

// The first generation learns chats in another form than it is asked in: "### Human: ...\n### Assistant:
// ...\n### ", and of the human's turns the "###" that ends an answer. Lengths are counted turn by turn, each
// with its <s>, so that what is masked moves on by a token with each turn; kept as it is.
// Ref: haotian-liu/LLaVA@c121f04 train.py, preprocess().
LabelledChat label_v0(const Request& request, const LabelArgs& args);

// Of LLaVA-OneVision the assistant's turns count with their headers, and so does every <|im_start|>,
// <|im_end|> and newline. Ref: LLaVA-VL/LLaVA-NeXT@df17966 train.py, preprocess_qwen().
LabelledChat label_qwen(const Request& request, const LabelArgs& args);

}  // namespace vlm::llava
