#include "models/llava/templates.h"

#include <fmt/format.h>

namespace vlm::llava {

namespace {

// The empty expression keeps a newline that follows: blocks swallow it.
constexpr char kMedia[] =
    "{% for part in message.content if part.type != 'text' %}<image>\n{% endfor %}"
    "{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}{{ '' }}";
constexpr char kText[] = "{{ message.content[0].text }}";

// Turns whose parts do not depend on their place; `system` stands in front when the chat brings no system
// message of its own.
struct Turns {
  std::string before_system, system, after_system;
  std::string before_user, after_user, before_answer, after_answer;
  std::string generation;  // where the answer is asked for; empty: after_user says it already
};

std::string compose(const Turns& turns) {
  std::string text;
  if (!turns.system.empty())
    text = "{% if messages[0].role != 'system' %}" + turns.before_system + turns.system + turns.after_system +
           "{% endif %}";
  text += "{% for message in messages %}{% if message.role == 'user' %}" + turns.before_user + kMedia +
          turns.after_user + "{% elif message.role == 'assistant' %}" + turns.before_answer + kText +
          turns.after_answer + "{% else %}" + turns.before_system + kText + turns.after_system +
          "{% endif %}{% endfor %}";
  if (!turns.generation.empty()) text += "{% if add_generation_prompt %}" + turns.generation + "{% endif %}";
  return text;
}

std::string vicuna(const std::string& system, const std::string& before_answer) {
  return compose({.before_system = "",
                  .system = system,
                  .after_system = " ",
                  .before_user = "USER: ",
                  .after_user = before_answer,
                  .before_answer = " ",
                  .after_answer = "</s>",
                  .generation = ""});
}

std::string instruct(const std::string& system, const std::string& between) {
  std::string own =
      "{% if messages[0].role == 'system' %}<<SYS>>\n{{ messages[0].content[0].text }}\n"
      "<</SYS>>\n\n{% endif %}";
  if (!system.empty()) own += "{% if messages[0].role != 'system' %}" + system + "{% endif %}";
  // The system text lies inside the first turn's brackets.
  return "{% set state = namespace(turn=0) %}{% for message in messages %}{% if message.role == 'user' %}"
         "{% if state.turn > 0 %}" +
         between + "{% endif %}[INST] {% if state.turn == 0 %}" + own + "{% endif %}" + kMedia +
         " [/INST]{% set state.turn = state.turn + 1 %}{% elif message.role == 'assistant' %} " + kText +
         " </s>{% endif %}{% endfor %}";
}

std::string chatml(const std::string& system, const std::string& end) {
  return compose({.before_system = "<|im_start|>system\n",
                  .system = system,
                  .after_system = end,
                  .before_user = "<|im_start|>user\n",
                  .after_user = end,
                  .before_answer = "<|im_start|>assistant\n",
                  .after_answer = end,
                  .generation = "<|im_start|>assistant\n"});
}

std::string header(const std::string& role) {
  return "<|start_header_id|>" + role + "<|end_header_id|>\n\n";
}

constexpr char kCuriousUser[] =
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions.";
constexpr char kLanguageAndVision[] =
    "You are a helpful language and vision assistant. You are able to understand the visual content that the "
    "user provides, and assist the user with a variety of tasks using natural language.";

}  // namespace

std::string user_assistant(const std::string& before_answer) {
  return vicuna("", before_answer);
}

std::string vicuna_v1() {
  return vicuna(kCuriousUser, " ASSISTANT:");
}

std::string llava_v1() {
  return vicuna(kCuriousHuman, " ASSISTANT:");
}

std::string llava_v0() {
  return compose({.before_system = "",
                  .system = kCuriousHuman,
                  .after_system = "###",
                  .before_user = "Human: ",
                  .after_user = "###",
                  .before_answer = "Assistant: ",
                  .after_answer = "###",
                  .generation = "Assistant:"});
}

std::string llava_llama_2() {
  return instruct(fmt::format("<<SYS>>\n{}\n<</SYS>>\n\n", kLanguageAndVision), "<s>");
}

std::string mistral_instruct() {
  return instruct("", "");
}

std::string chatml_direct() {
  return chatml("Answer the questions.", "<|im_end|>");
}

std::string mpt() {
  return chatml(
      "A conversation between a user and an LLM-based AI assistant. The assistant gives helpful and honest "
      "answers.",
      "<|im_end|>");
}

std::string llama_3() {
  return compose({.before_system = header("system"),
                  .system = kLanguageAndVision,
                  .after_system = "<|eot_id|>",
                  .before_user = header("user"),
                  .after_user = "<|eot_id|>",
                  .before_answer = header("assistant"),
                  .after_answer = "<|eot_id|>",
                  .generation = header("assistant")});
}

std::string qwen_1_5() {
  return chatml("You are a helpful assistant.", "<|im_end|>\n");
}

std::string with_marked_images(std::string chat_template) {
  constexpr char kImage[] = "<image>", kMarked[] = "<im_start><image><im_end>";
  for (size_t at = chat_template.find(kImage); at != std::string::npos;
       at = chat_template.find(kImage, at + sizeof kMarked - 1))
    chat_template.replace(at, sizeof kImage - 1, kMarked);
  return chat_template;
}

bool knows_token(const Checkpoint& checkpoint, const char* token) {
  return checkpoint.tokenizer.tokenizer && checkpoint.tokenizer.tokenizer->token_to_id(token).has_value();
}

}  // namespace vlm::llava
