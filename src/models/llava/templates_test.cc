// Prompts as haotian-liu/LLaVA@c121f04 and LLaVA-VL/LLaVA-NeXT@df17966 (qwen_1_5) make them of the same two
// rounds.
#include "models/llava/templates.h"

#include <gtest/gtest.h>

#include "system/chat.h"

namespace vlm::llava {
namespace {

std::string render(const std::string& chat_template, const std::vector<ChatMessage>& messages) {
  Request request;
  request.messages = messages;
  return render_prompt(request, *ChatTemplate::compile(chat_template), {});
}

std::vector<ChatMessage> two_rounds() {
  return {{"user", {{ContentPart::Kind::image, ""}, {ContentPart::Kind::text, "What is it?"}}},
          ChatMessage::text("assistant", "A box."),
          ChatMessage::text("user", "Why?")};
}

TEST(Templates, AreTheAuthorsConversations) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {vicuna_v1(),
       "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
       "detailed, and polite answers to the user's questions. USER: <image>\nWhat is it? ASSISTANT: A "
       "box.</s>USER: Why? ASSISTANT:"},
      {llava_v1(),
       "A chat between a curious human and an artificial intelligence assistant. The assistant gives "
       "helpful, detailed, and polite answers to the human's questions. USER: <image>\nWhat is it? "
       "ASSISTANT: A box.</s>USER: Why? ASSISTANT:"},
      {llava_v0(),
       "A chat between a curious human and an artificial intelligence assistant. The assistant gives "
       "helpful, detailed, and polite answers to the human's questions.###Human: <image>\nWhat is "
       "it?###Assistant: A box.###Human: Why?###Assistant:"},
      {llava_llama_2(),
       "[INST] <<SYS>>\nYou are a helpful language and vision assistant. You are able to understand the "
       "visual content that the user provides, and assist the user with a variety of tasks using natural "
       "language.\n<</SYS>>\n\n<image>\nWhat is it? [/INST] A box. </s><s>[INST] Why? [/INST]"},
      {mistral_instruct(), "[INST] <image>\nWhat is it? [/INST] A box. </s>[INST] Why? [/INST]"},
      {chatml_direct(),
       "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n<image>\nWhat is "
       "it?<|im_end|><|im_start|>assistant\nA "
       "box.<|im_end|><|im_start|>user\nWhy?<|im_end|><|im_start|>assistant\n"},
      {mpt(),
       "<|im_start|>system\nA conversation between a user and an LLM-based AI assistant. The assistant gives "
       "helpful and honest answers.<|im_end|><|im_start|>user\n<image>\nWhat is "
       "it?<|im_end|><|im_start|>assistant\nA "
       "box.<|im_end|><|im_start|>user\nWhy?<|im_end|><|im_start|>assistant\n"},
      {qwen_1_5(),
       "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<image>\nWhat is "
       "it?<|im_end|>\n<|im_start|>assistant\nA "
       "box.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"},
  };
  for (const auto& [chat_template, prompt] : cases) EXPECT_EQ(render(chat_template, two_rounds()), prompt);
}

TEST(Templates, ASystemMessageTakesThePlaceOfTheirOwn) {
  std::vector<ChatMessage> messages = two_rounds();
  messages.insert(messages.begin(), ChatMessage::text("system", "Be brief."));
  messages.resize(2);
  EXPECT_EQ(render(vicuna_v1(), messages), "Be brief. USER: <image>\nWhat is it? ASSISTANT:");
  EXPECT_EQ(render(llava_v0(), messages), "Be brief.###Human: <image>\nWhat is it?###Assistant:");
  EXPECT_EQ(render(mistral_instruct(), messages),
            "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n<image>\nWhat is it? [/INST]");
  EXPECT_EQ(render(chatml_direct(), messages),
            "<|im_start|>system\nBe brief.<|im_end|><|im_start|>user\n<image>\nWhat is it?<|im_end|>"
            "<|im_start|>assistant\n");
}

TEST(Templates, PicturesMayStandBetweenMarks) {
  EXPECT_EQ(render(with_marked_images(user_assistant(" ASSISTANT:")), {two_rounds().front()}),
            "USER: <im_start><image><im_end>\nWhat is it? ASSISTANT:");
}

TEST(Templates, ANewlineBeforeTheAnswerIsKept) {
  EXPECT_EQ(render(user_assistant("\n\nASSISTANT:"), {two_rounds().front()}),
            "USER: <image>\nWhat is it?\n\nASSISTANT:");
}

}  // namespace
}  // namespace vlm::llava
