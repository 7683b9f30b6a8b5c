// The C API: codes, messages, ownership.
#include <gtest/gtest.h>
#include <vlm/capi.h>

#include <cstddef>
#include <string>
#include <thread>

namespace {

std::string in_case(const std::string& path) {
  return VLM_SOURCE_DIR "/tests/cases/" + path;
}

class CApi : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(vlm_model_load(in_case("llava-1.5-a/checkpoint").c_str(), nullptr, &llava_), VLM_OK)
        << vlm_last_error();
    ASSERT_EQ(vlm_image_from_file(in_case("llava-1.5-a/media/a.png").c_str(), &image_), VLM_OK);
  }
  void TearDown() override {
    vlm_image_release(image_);
    vlm_model_release(llava_);
  }
  vlm_model* llava_ = nullptr;
  vlm_image* image_ = nullptr;
};

int append(const char* text, void* user) {
  *static_cast<std::string*>(user) += text;
  return 1;
}

TEST_F(CApi, AsksWithStreaming) {
  vlm_chat* chat = nullptr;
  ASSERT_EQ(vlm_chat_new(llava_, nullptr, &chat), VLM_OK);
  vlm_model_release(llava_);  // the chat keeps the weights
  llava_ = nullptr;
  vlm_ask_options options = VLM_ASK_OPTIONS_INIT;
  options.max_new_tokens = 8;
  vlm_answer_info info = VLM_ANSWER_INFO_INIT;
  std::string streamed;
  char* answer = nullptr;
  const vlm_image* images[] = {image_};
  ASSERT_EQ(vlm_chat_ask(chat, "What is it?", images, 1, &options, append, &streamed, &answer, &info), VLM_OK)
      << vlm_last_error();
  EXPECT_EQ(streamed, answer);
  EXPECT_FALSE(streamed.empty());
  EXPECT_EQ(info.tokens_generated, 8);
  EXPECT_EQ(info.finish, VLM_FINISH_LENGTH);
  vlm_free(answer);

  EXPECT_EQ(
      vlm_chat_ask(
          chat, "Why?", nullptr, 0, &options, [](const char*, void*) { return 0; }, nullptr, nullptr, &info),
      VLM_OK);
  EXPECT_EQ(info.finish, VLM_FINISH_CANCELLED);
  EXPECT_GT(info.tokens_reused, 0);
  EXPECT_EQ(vlm_chat_clear(chat), VLM_OK);
  vlm_chat_release(chat);
}

TEST_F(CApi, KnowsPublishedOptionsAndSpeculates) {
  vlm_model* qwen = nullptr;
  ASSERT_EQ(vlm_model_load(in_case("qwen2-vl-a/checkpoint").c_str(), nullptr, &qwen), VLM_OK);
  vlm_ask_options options = VLM_ASK_OPTIONS_INIT;
  ASSERT_EQ(vlm_model_published_options(qwen, &options), VLM_OK) << vlm_last_error();
  vlm_model_release(qwen);
  EXPECT_EQ(options.struct_size, sizeof options);
  EXPECT_EQ(options.temperature, 0.01);
  EXPECT_EQ(options.top_k, 1);
  EXPECT_EQ(vlm_model_published_options(llava_, nullptr), VLM_BAD_REQUEST);

  const vlm_image* images[] = {image_};
  const char* prompt = "USER: <image>\nWhat does this picture show? ASSISTANT:";
  options = VLM_ASK_OPTIONS_INIT;
  options.max_new_tokens = 16;
  std::string answers[2];
  for (int64_t speculate : {0, 7}) {
    options.speculate = speculate;
    vlm_answer_info info = VLM_ANSWER_INFO_INIT;
    ASSERT_EQ(
        vlm_generate(llava_, prompt, images, 1, &options, append, &answers[speculate > 0], nullptr, &info),
        VLM_OK);
    EXPECT_LE(info.tokens_accepted, info.tokens_guessed);
    EXPECT_EQ(info.tokens_generated, 16);
  }
  EXPECT_EQ(answers[0], answers[1]);
}

TEST_F(CApi, StopsAtStrings) {
  vlm_ask_options options = VLM_ASK_OPTIONS_INIT;
  options.max_new_tokens = 8;
  const vlm_image* images[] = {image_};
  const char* prompt = "USER: <image>\nWhat does this picture show? ASSISTANT:";
  char* whole = nullptr;
  ASSERT_EQ(vlm_generate(llava_, prompt, images, 1, &options, nullptr, nullptr, &whole, nullptr), VLM_OK);
  std::string text = whole;
  vlm_free(whole);
  ASSERT_GT(text.size(), 2u);
  std::string last = text.substr(text.size() - 2);
  const char* stops[] = {last.c_str()};
  options.stop = stops;
  options.num_stop = 1;
  char* cut = nullptr;
  ASSERT_EQ(vlm_generate(llava_, prompt, images, 1, &options, nullptr, nullptr, &cut, nullptr), VLM_OK);
  EXPECT_EQ(std::string(cut), text.substr(0, text.find(last)));
  vlm_free(cut);
}

TEST_F(CApi, KnowsOlderStructs) {
  vlm_ask_options options = VLM_ASK_OPTIONS_INIT;
  options.max_new_tokens = 3;
  options.num_beams = -1;  // beyond what this caller knows
  options.struct_size = offsetof(vlm_ask_options, num_beams);
  vlm_answer_info info = VLM_ANSWER_INFO_INIT;
  info.struct_size = offsetof(vlm_answer_info, seconds_encode);
  info.seconds_encode = -1;
  EXPECT_EQ(vlm_generate(llava_, "Hello", nullptr, 0, &options, nullptr, nullptr, nullptr, &info), VLM_OK)
      << vlm_last_error();
  EXPECT_EQ(info.seconds_encode, -1);
  EXPECT_EQ(info.struct_size, offsetof(vlm_answer_info, seconds_encode));
  options.struct_size = 0;
  EXPECT_EQ(vlm_generate(llava_, "Hello", nullptr, 0, &options, nullptr, nullptr, nullptr, nullptr),
            VLM_BAD_REQUEST);
  EXPECT_STREQ(vlm_last_error(), "options.struct_size is 0");
}

TEST_F(CApi, TranslatesErrors) {
  vlm_model* model = nullptr;
  EXPECT_EQ(vlm_model_load("no-such-org/model", nullptr, &model), VLM_NOT_FOUND);
  EXPECT_EQ(model, nullptr);
  EXPECT_STREQ(vlm_last_hint(), "get it with: vlm pull no-such-org/model");
  EXPECT_EQ(vlm_model_load(nullptr, nullptr, &model), VLM_BAD_REQUEST);
  EXPECT_STREQ(vlm_last_error(), "name is NULL");
  EXPECT_EQ(vlm_model_load("x", nullptr, nullptr), VLM_BAD_REQUEST);
  EXPECT_STREQ(vlm_last_error(), "model is NULL");
  float* values = nullptr;
  size_t width = 0;
  const char* texts[] = {"a", nullptr};
  EXPECT_EQ(vlm_embed_texts(llava_, texts, 1, &values, &width), VLM_UNSUPPORTED);
  EXPECT_EQ(vlm_embed_texts(llava_, texts, 2, &values, &width), VLM_BAD_REQUEST);
  EXPECT_STREQ(vlm_last_error(), "texts[1] is NULL");
  std::thread([] { EXPECT_STREQ(vlm_last_error(), ""); }).join();
  vlm_image* image = nullptr;
  EXPECT_EQ(vlm_image_from_memory("no", 2, &image), VLM_BAD_REQUEST);
  EXPECT_EQ(image, nullptr);
}

TEST_F(CApi, TellsWhatItIs) {
  EXPECT_STREQ(vlm_model_system(llava_), "llava-1.5");
  EXPECT_STREQ(vlm_model_precision(llava_), "f32");
  EXPECT_EQ(vlm_model_can(llava_, VLM_TASK_CHAT), 1);
  EXPECT_EQ(vlm_model_can(llava_, VLM_TASK_CLASSIFY), 0);
  EXPECT_GT(vlm_image_width(image_), 0);
  EXPECT_EQ(vlm_model_can(nullptr, VLM_TASK_CHAT), 0);
}

TEST_F(CApi, EmbedsComparesAndClassifies) {
  vlm_model* clip = nullptr;
  vlm_load_options options = VLM_LOAD_OPTIONS_INIT;
  options.precision = "bf16";
  ASSERT_EQ(vlm_model_load(in_case("clip-a/checkpoint").c_str(), &options, &clip), VLM_OK)
      << vlm_last_error();
  EXPECT_STREQ(vlm_model_precision(clip), "bf16");
  const vlm_image* images[] = {image_};
  const char* texts[] = {"a cat", "two dogs"};
  float *vectors = nullptr, *scores = nullptr;
  size_t width = 0;
  ASSERT_EQ(vlm_embed_texts(clip, texts, 2, &vectors, &width), VLM_OK) << vlm_last_error();
  EXPECT_GT(width, 0u);
  ASSERT_EQ(vlm_similarity(clip, images, 1, texts, 2, &scores), VLM_OK) << vlm_last_error();
  EXPECT_NEAR(scores[0] + scores[1], 1, 1e-4);
  vlm_label* labels = nullptr;
  size_t num_labels = 0;
  ASSERT_EQ(vlm_classify(clip, image_, texts, 2, 1, &labels, &num_labels), VLM_OK) << vlm_last_error();
  ASSERT_EQ(num_labels, 1u);
  EXPECT_TRUE(std::string(labels[0].name) == texts[0] || std::string(labels[0].name) == texts[1]);
  EXPECT_EQ(vlm_classify(clip, image_, nullptr, 0, 1, &labels, &num_labels), VLM_UNSUPPORTED);
  vlm_free(labels);
  vlm_free(scores);
  vlm_free(vectors);
  vlm_model_release(clip);
}

}  // namespace
