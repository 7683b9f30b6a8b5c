// Prompts and refusals of the systems that take pictures between words.
#include <gtest/gtest.h>

#include "base/error.h"
#include "system/system.h"

namespace vlm::interleaved {
namespace {

constexpr ContentPart::Kind kText = ContentPart::Kind::text, kImage = ContentPart::Kind::image;

LoadedModel load(const std::string& name, const std::string& slug) {
  return bind_model(Checkpoint::open(VLM_SOURCE_DIR "/tests/cases/" + name + "/checkpoint"), {}, slug);
}

Request chat(std::vector<ContentPart> parts, size_t num_images) {
  Request request;
  request.messages.push_back({"user", std::move(parts)});
  request.images.assign(num_images, Image::filled(30, 20, {200, 40, 10}));
  return request;
}

std::string prompt_of(const LoadedModel& loaded, const Request& request) {
  return as<Generator>(*loaded.model)->prepare(request).text;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(InterleavedPrompts, MantisCountsPicturesThroughTheConversation) {
  LoadedModel mantis = load("mantis-a", "mantis");
  Request request = chat({{kImage, ""}, {kImage, ""}, {kText, "What differs?"}}, 3);
  request.messages.push_back(ChatMessage::text("assistant", "Aye."));
  request.messages.push_back({"user", {{kText, "And "}, {kImage, ""}}});
  EXPECT_EQ(
      prompt_of(mantis, request),
      "<|start_header_id|>system<|end_header_id|>\n\nYou are a pirate chatbot who always responds in "
      "pirate speak!<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n(image 1: <Image><image></Image>) "
      "(image 2: <Image><image></Image>) What differs?<|eot_id|><|start_header_id|>assistant"
      "<|end_header_id|>\n\nAye.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd (image 3: "
      "<Image><image></Image>)<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(InterleavedPrompts, FuyuEndsQuestionsWithALineBreak) {
  LoadedModel fuyu = load("fuyu-a", "fuyu");
  EXPECT_EQ(prompt_of(fuyu, chat({{kImage, ""}, {kText, "What is it? "}}, 1)), "What is it?\n<0x04>");
  Request request = chat({{kText, "Read"}}, 1);
  request.regions.boxes_xyxy = {{2, 4, 6, 8}};
  EXPECT_EQ(prompt_of(fuyu, request), "Read\n<box>4, 2, 8, 6</box><0x04>");
  EXPECT_EQ(prompt_of(load("otterhd-a", "otterhd"), chat({{kText, "What is it?"}}, 1)),
            "User: What is it? Assistant:<0x04>");
}

TEST(InterleavedPrompts, MantisFuyuKeepsPicturesInPlace) {
  EXPECT_EQ(
      prompt_of(load("mantis-fuyu-a", "mantis"), chat({{kText, "Is "}, {kImage, ""}, {kText, "red?"}}, 1)),
      "You are a helpful language and vision assistant. You are able to understand the visual content that "
      "the user provides, and assist the user with a variety of tasks using natural language.\nUSER: Is "
      "<image>red?<0x04>ASSISTANT:");
}

TEST(InterleavedPrompts, IdeficsSharesTheTokenBetweenNeighbours) {
  Request request = chat({{kText, "Compare "}, {kImage, ""}, {kImage, ""}, {kText, " these."}}, 2);
  EXPECT_EQ(prompt_of(load("idefics-a", "idefics"), request),
            "User: Compare<fake_token_around_image><image><fake_token_around_image><image>"
            "<fake_token_around_image>these.\nAssistant:");
  EXPECT_EQ(prompt_of(load("idefics-instruct-a", "idefics"), request),
            "User: Compare<fake_token_around_image><image><fake_token_around_image><image>"
            "<fake_token_around_image>these.<end_of_utterance>\nAssistant:");
}

TEST(InterleavedPrompts, PicturesAndMarksMustAgree) {
  for (auto [name, slug] : {std::pair{"idefics2-a", "idefics2"}, std::pair{"idefics3-a", "idefics3"},
                            std::pair{"idefics-a", "idefics"}, std::pair{"mantis-a", "mantis"},
                            std::pair{"mantis-fuyu-a", "mantis"}}) {
    LoadedModel loaded = load(name, slug);
    Request request = chat({}, 1);
    request.messages.clear();
    request.prompt = "User:<image> and <image>?";
    EXPECT_NE(
        message_of([&] { prompt_of(loaded, request); }).find("2 <image> markers but 1 picture was given"),
        std::string::npos)
        << name;
  }
}

TEST(InterleavedPrompts, PicturesNeedThePreprocessorsFile) {
  for (auto [name, slug] :
       {std::pair{"idefics2-a", "idefics2"}, std::pair{"idefics3-a", "idefics3"},
        std::pair{"idefics-a", "idefics"}, std::pair{"mantis-a", "mantis"}, std::pair{"fuyu-a", "fuyu"}}) {
    Checkpoint checkpoint =
        Checkpoint::open(VLM_SOURCE_DIR "/tests/cases/" + std::string(name) + "/checkpoint");
    checkpoint.preprocessor = Json();
    LoadedModel loaded = bind_model(std::move(checkpoint), {}, slug);
    Request request = chat({{kImage, ""}, {kText, "What?"}}, 1);
    EXPECT_NE(message_of([&] { prompt_of(loaded, request); }).find("says nothing about its pictures"),
              std::string::npos)
        << name;
  }
}

TEST(InterleavedPrompts, CheckpointsFindTheirSystem) {
  auto slug_of = [](const char* name) {
    return std::string(
        system_of(Checkpoint::open(VLM_SOURCE_DIR "/tests/cases/" + std::string(name) + "/checkpoint")).slug);
  };
  EXPECT_EQ(slug_of("fuyu-a"), "fuyu");
  EXPECT_EQ(slug_of("mantis-fuyu-a"), "mantis");  // by its processor's name, not the folder's
  EXPECT_EQ(slug_of("idefics2-a"), "idefics2");
  EXPECT_EQ(slug_of("idefics3-a"), "idefics3");
  EXPECT_EQ(slug_of("idefics-a"), "idefics");
}

TEST(InterleavedPrompts, IdeficsForbidsImageTokensInAnswers) {
  LoadedModel idefics = load("idefics-a", "idefics");
  EXPECT_EQ(as<Generator>(*idefics.model)->rules().suppress_tokens, (std::vector<int64_t>{360, 361}));
}

}  // namespace
}  // namespace vlm::interleaved
