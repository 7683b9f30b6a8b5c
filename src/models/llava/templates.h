// The prompts of the family as chat templates, for checkpoints that publish none: haotian-liu/LLaVA's
// conversation.py by the names it gives them, and what the model cards of converted checkpoints say. Pictures
// and videos stand first in their turn, as all were trained.
#pragma once

#include <string>

#include "system/checkpoint.h"

namespace vlm::llava {

// "USER: <image>\n{question}{before_answer}" and " {answer}</s>".
std::string user_assistant(const std::string& before_answer);
std::string vicuna_v1();  // the same below a sentence on a curious user; LLaVA-1.5's training
std::string llava_v1();   // below a sentence on a curious human; what the authors' programs use
std::string llava_v0();   // "###Human: ...###Assistant:"
std::string llava_llama_2();
std::string mistral_instruct();
std::string chatml_direct();  // 1.6-34b
std::string mpt();
std::string llama_3();
std::string qwen_1_5();

// The sentence in front of the first generation's chats.
inline constexpr char kCuriousHuman[] =
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the human's questions.";

// Each <image> between the two marks of mm_use_im_start_end.
std::string with_marked_images(std::string chat_template);

bool knows_token(const Checkpoint& checkpoint, const char* token);

}  // namespace vlm::llava
