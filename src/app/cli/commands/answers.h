// What `run` and `chat` share.
#pragma once

#include "app/cli/commands/command.h"
#include "engine/session.h"

namespace vlm::cli {

// What the command line says, and where it says nothing what the checkpoint's generation_config.json says.
AnswerOptions answer_options(const AnswerFlags& flags, const Checkpoint& checkpoint);

// A user's turn: pictures and videos first, as the published templates have them.
ChatMessage user_message(size_t num_images, size_t num_videos, const std::string& text);

// What is left to print of an answer whose first `told` bytes of text are: the rest, a line for each region
// and each call.
std::string rest_of(const ParsedAnswer& read, size_t told);

// "encode 0.12 s (1 picture), prefill 0.50 s (600 tokens, 1200/s), decode 1.20 s (20 tokens, 16.7/s)"
std::string stats_text(const DecodeTimes& times);
// How the answer was made, whoever said so.
nlohmann::ordered_json sampling_json(const AnswerOptions& options);
// In the words of OpenAI's API.
nlohmann::ordered_json usage_json(const DecodeTimes& times);
nlohmann::ordered_json stats_json(const DecodeTimes& times);

}  // namespace vlm::cli
