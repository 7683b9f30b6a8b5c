#include "train/examples.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

const fs::path kCase = VLM_SOURCE_DIR "/tests/cases/idefics2-a";  // two pictures, a.png and b.png

class ListExamples : public testing::Test {
 protected:
  ListExamples()
      : loaded_(bind_model(Checkpoint::open(kCase / "checkpoint"), {}, "idefics2")),
        model_(as<LanguageTrainable>(*loaded_.model)) {}
  ~ListExamples() override { fs::remove(list_); }

  std::unique_ptr<ExampleSource> source(const std::string& json, int64_t longest = 0) {
    write_text(list_, json);
    ExampleOptions options;
    options.longest = longest;
    return list_examples(model_, list_, kCase / "media", options);
  }

  LoadedModel loaded_;
  const LanguageTrainable* model_;
  fs::path list_ = fs::path(testing::TempDir()) /
                   (std::string("vlm_list_") + testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(ListExamples, SeveralPicturesStayAtTheirMarks) {
  Prompt prompt = source(R"([{"image": ["a.png", "b.png"], "conversations": [
      {"from": "human", "value": "Is <image> like <image>?\n"}, {"from": "gpt", "value": "No."}]}])")
                      ->make(0)
                      .prompt;
  Request request;
  constexpr ContentPart::Kind kText = ContentPart::Kind::text, kImage = ContentPart::Kind::image;
  request.messages.push_back(
      {"user", {{kText, "Is "}, {kImage, ""}, {kText, " like "}, {kImage, ""}, {kText, "?"}}});
  request.messages.push_back(ChatMessage::text("assistant", "No."));
  request.images = {read_image(kCase / "media/a.png"), read_image(kCase / "media/b.png")};
  Prompt wanted = model_->prepare_example(request);
  EXPECT_EQ(prompt.ids, wanted.ids);
  ASSERT_EQ(prompt.media.size(), 2u);
  EXPECT_EQ(prompt.media[0].key, wanted.media[0].key);
  EXPECT_EQ(prompt.media[1].key, wanted.media[1].key);
}

TEST_F(ListExamples, OneMarkGoesToTheFront) {
  auto ids = [&](const char* value) {
    return source(fmt::format(R"([{{"image": "a.png", "conversations": [{{"from": "human", "value": "{}"}},
        {{"from": "gpt", "value": "No."}}]}}])",
                              value))
        ->make(0)
        .prompt.ids;
  };
  EXPECT_EQ(ids("What is it?\\n<image>"), ids("<image>\\nWhat is it?"));
}

TEST_F(ListExamples, WhatIsCutTakesItsPicturesAlong) {
  const char* json = R"([{"image": ["a.png", "b.png"], "conversations": [
      {"from": "human", "value": "<image>\nOne?"}, {"from": "gpt", "value": "Yes."},
      {"from": "human", "value": "<image>\nTwo?"}, {"from": "gpt", "value": "No."}]}])";
  Prompt whole = source(json)->make(0).prompt;
  ASSERT_EQ(whole.media.size(), 2u);
  Prompt cut = source(json, whole.media[1].begin)->make(0).prompt;
  EXPECT_EQ(cut.media.size(), 1u);
  EXPECT_LE(static_cast<int64_t>(cut.ids.size()), whole.media[1].begin);
  EXPECT_NO_THROW(model_->loss({cut}, false));
}

TEST_F(ListExamples, MarksAndPicturesMustAgree) {
  auto list = source(R"([{"image": ["a.png", "b.png"], "conversations": [
      {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "No."}]}])");
  try {
    list->make(0);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("1 <image> marker but 2 pictures were given"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace vlm
