// The C++ API as its users see it: public headers alone.
#include <gtest/gtest.h>
#include <vlm/vlm.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

namespace {

std::string in_case(const std::string& path) {
  return VLM_SOURCE_DIR "/tests/cases/" + path;
}

const vlm::Model& llava() {
  static const vlm::Model model = vlm::Model::load(in_case("llava-1.5-a/checkpoint"));
  return model;
}

const vlm::Model& clip() {
  static const vlm::Model model = vlm::Model::load(in_case("clip-a/checkpoint"));
  return model;
}

vlm::Image picture() {
  return vlm::Image::from_file(in_case("llava-1.5-a/media/a.png"));
}

vlm::AskOptions at_most(std::int64_t tokens) {
  vlm::AskOptions options;
  options.max_new_tokens = tokens;
  return options;
}

template <typename Body>
void expect_error(vlm::ErrorKind kind, const std::string& part, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "nothing was thrown; expected: " << part;
  } catch (const vlm::Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_FALSE(error.hint().empty()) << error.what();
  }
}

TEST(Api, TellsWhatAModelIs) {
  const vlm::ModelInfo& info = llava().info();
  EXPECT_EQ(info.system, "llava-1.5");
  EXPECT_EQ(info.precision, "f32");
  EXPECT_EQ(info.max_tokens, 4096);
  EXPECT_GT(info.num_parameters, 1000);
  EXPECT_TRUE(info.can_chat);
  EXPECT_FALSE(info.can_embed_texts);
  EXPECT_TRUE(clip().info().can_embed_images);
  EXPECT_FALSE(clip().info().can_chat);
}

TEST(Api, StreamsWhatItAnswers) {
  vlm::Chat chat = llava().chat();
  std::string streamed;
  int pieces = 0;
  vlm::Answer answer =
      chat.ask("What does this picture show?", {picture()}, at_most(10), [&](const std::string& text) {
        streamed += text;
        ++pieces;
        return true;
      });
  EXPECT_FALSE(answer.text.empty());
  EXPECT_EQ(answer.text, streamed);
  EXPECT_GT(pieces, 1);
  EXPECT_GT(answer.tokens_prompt, 16);
  EXPECT_EQ(answer.finish, vlm::Finish::length);
  EXPECT_EQ(answer.tokens_generated, 10);
}

TEST(Api, RemembersAndReuses) {
  vlm::Chat chat = llava().chat();
  vlm::Answer first = chat.ask("What is it?", {picture()}, at_most(4));
  vlm::Answer second = chat.ask("Why?", {}, at_most(4));
  EXPECT_GT(second.tokens_prompt, first.tokens_prompt);
  EXPECT_GT(second.tokens_reused, 16);  // the picture's at least
  ASSERT_EQ(chat.messages().size(), 4u);
  EXPECT_EQ(chat.messages()[0].images.size(), 1u);
  EXPECT_EQ(chat.messages()[3].text, second.text);
  chat.clear();
  EXPECT_TRUE(chat.messages().empty());
  EXPECT_EQ(chat.ask("What is it?", {picture()}, at_most(4)).text, first.text);
}

TEST(Api, KeepsKeysAndValuesAsAsked) {
  for (const char* precision : {"f32", "f16", "int8"}) {
    vlm::LoadOptions options;
    options.kv_precision = precision;
    vlm::Chat chat = vlm::Model::load(in_case("llava-1.5-a/checkpoint"), options).chat();
    EXPECT_EQ(chat.ask("What is it?", {picture()}, at_most(4)).tokens_generated, 4) << precision;
    EXPECT_GT(chat.ask("Why?", {}, at_most(4)).tokens_reused, 16) << precision;
  }
  expect_error(vlm::ErrorKind::bad_request, "keys and values in \"q8\"", [] {
    vlm::LoadOptions options;
    options.kv_precision = "q8";
    vlm::Model::load(in_case("llava-1.5-a/checkpoint"), options);
  });
}

TEST(Api, StartsFromAnEarlierConversation) {
  vlm::Chat chat = llava().chat();
  vlm::Answer first = chat.ask("What is it?", {picture()}, at_most(4));
  vlm::Answer second = chat.ask("Why?", {}, at_most(4));
  vlm::Chat other = llava().chat();
  other.add({"user", "What is it?", {picture()}});
  other.add({"assistant", first.text, {}});
  EXPECT_EQ(other.ask("Why?", {}, at_most(4)).text, second.text);
  expect_error(vlm::ErrorKind::bad_request, "unknown role \"robot\"", [&] { other.add({"robot", "", {}}); });
}

TEST(Api, CallerEndsTheAnswer) {
  vlm::Chat chat = llava().chat();
  int pieces = 0;
  vlm::Answer answer =
      chat.ask("What is it?", {picture()}, at_most(50), [&](const std::string&) { return ++pieces < 2; });
  EXPECT_EQ(answer.finish, vlm::Finish::cancelled);
  EXPECT_EQ(pieces, 2);
  EXPECT_LT(answer.tokens_generated, 50);
  EXPECT_EQ(chat.messages().size(), 2u);
}

TEST(Api, CallersExceptionComesOutUnchanged) {
  vlm::Chat chat = llava().chat("Be brief.");
  EXPECT_THROW(chat.ask("What is it?", {picture()}, at_most(8),
                        [](const std::string&) -> bool { throw std::domain_error("mine"); }),
               std::domain_error);
  EXPECT_EQ(chat.messages().size(), 1u);
  EXPECT_FALSE(chat.ask("What is it?", {picture()}, at_most(4)).text.empty());
}

TEST(Api, BeamsComeInOnePiece) {
  vlm::AskOptions options = at_most(6);
  options.num_beams = 3;
  int pieces = 0;
  std::string streamed;
  vlm::Answer answer = llava().generate("USER: <image>\nWhat does this picture show? ASSISTANT:", {picture()},
                                        options, [&](const std::string& text) {
                                          ++pieces;
                                          streamed += text;
                                          return true;
                                        });
  EXPECT_EQ(pieces, 1);
  EXPECT_EQ(streamed, answer.text);
  options.temperature = 1;
  expect_error(vlm::ErrorKind::bad_request, "does not draw at random",
               [&] { llava().generate("a", {}, options); });
}

TEST(Api, SeedDecidesWhatIsDrawn) {
  vlm::AskOptions options = at_most(8);
  options.temperature = 1;
  options.seed = 7;
  std::string prompt = "USER: <image>\nWhat does this picture show? ASSISTANT:";
  EXPECT_EQ(llava().generate(prompt, {picture()}, options).text,
            llava().generate(prompt, {picture()}, options).text);
}

TEST(Api, SpeculationGivesTheSameAnswer) {
  vlm::AskOptions options = at_most(24);
  const std::string prompt = "USER: <image>\nWhat does this picture show? ASSISTANT:";
  vlm::Answer wanted = llava().generate(prompt, {picture()}, options);
  options.speculate = 7;
  vlm::Answer found = llava().generate(prompt, {picture()}, options);
  EXPECT_EQ(found.text, wanted.text);
  EXPECT_EQ(found.tokens_generated, wanted.tokens_generated);
  EXPECT_LE(found.tokens_accepted, found.tokens_guessed);
  EXPECT_EQ(wanted.tokens_guessed, 0);
  options.speculate = 8;
  expect_error(vlm::ErrorKind::bad_request, "speculation with 8 tokens",
               [&] { llava().generate(prompt, {picture()}, options); });
}

TEST(Api, PublishedOptionsAreTheCheckpointsOwn) {
  vlm::AskOptions options = vlm::Model::load(in_case("qwen2-vl-a/checkpoint")).published_options();
  EXPECT_EQ(options.temperature, 0.01);
  EXPECT_EQ(options.top_k, 1);
  EXPECT_EQ(options.top_p, 0.001);
  EXPECT_EQ(llava().published_options().temperature, 0);
}

TEST(Api, ThreadsShareAModel) {
  auto answer = [] { return llava().chat().ask("What is it?", {picture()}, at_most(6)).text; };
  std::string alone = answer();
  std::string texts[2];
  std::thread first([&] { texts[0] = answer(); }), second([&] { texts[1] = answer(); });
  first.join(), second.join();
  EXPECT_EQ(texts[0], alone);
  EXPECT_EQ(texts[1], alone);
}

TEST(Api, ChatOutlivesItsModel) {
  auto chat = [] { return vlm::Model::load(in_case("llava-1.5-a/checkpoint")).chat(); }();
  EXPECT_FALSE(chat.ask("What is it?", {picture()}, at_most(2)).text.empty());
}

TEST(Api, EmbedsAndCompares) {
  std::vector<vlm::Image> pictures{vlm::Image::from_file(in_case("clip-a/media/a.png")),
                                   vlm::Image::from_file(in_case("clip-a/media/b.png"))};
  std::vector<std::string> texts{"a photo of a cat", "Two dogs, running on the beach!", "a tree"};
  vlm::Embeddings images = clip().embed_images(pictures);
  vlm::Embeddings words = clip().embed_texts(texts);
  ASSERT_EQ(images.count, 2u);
  ASSERT_EQ(words.count, 3u);
  ASSERT_EQ(images.width, words.width);
  for (const vlm::Embeddings* rows : {&images, &words})
    for (std::size_t idx = 0; idx < rows->count; ++idx) {
      double square = 0;
      for (std::size_t k = 0; k < rows->width; ++k) square += rows->row(idx)[k] * rows->row(idx)[k];
      EXPECT_NEAR(square, 1, 1e-5);
    }
  std::vector<float> scores = clip().similarity(pictures, texts);
  ASSERT_EQ(scores.size(), 6u);
  EXPECT_NEAR(scores[0] + scores[1] + scores[2], 1, 1e-5);
  // Labels are the same comparison, sorted.
  std::vector<vlm::Label> labels = clip().classify(pictures[0], texts, 0, "{}");
  ASSERT_EQ(labels.size(), 3u);
  EXPECT_GE(labels[0].score, labels[1].score);
  for (const vlm::Label& label : labels)
    for (std::size_t idx = 0; idx < texts.size(); ++idx)
      if (texts[idx] == label.name) {
        EXPECT_NEAR(label.score, scores[idx], 1e-5);
      }
  EXPECT_EQ(clip().classify(pictures[0], texts, 1).size(), 1u);
}

TEST(Api, Classifies) {
  vlm::Model vit = vlm::Model::load(in_case("vit-a/checkpoint"));
  vlm::Image image = vlm::Image::from_file(in_case("vit-a/media/a.png"));
  std::vector<vlm::Label> all = vit.classify(image, 0);
  double sum = 0;
  for (const vlm::Label& label : all) sum += label.score;
  EXPECT_NEAR(sum, 1, 1e-5);
  ASSERT_GT(all.size(), 1u);
  std::vector<vlm::Label> one = vit.classify(image, 1);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].name, all[0].name);
}

TEST(Api, PicturesFromEverywhere) {
  vlm::Image image = picture();
  std::ifstream file(in_case("llava-1.5-a/media/a.png"), std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  vlm::Image decoded = vlm::Image::from_memory(bytes.data(), bytes.size());
  ASSERT_EQ(decoded.height(), image.height());
  ASSERT_EQ(decoded.width(), image.width());
  std::size_t size = static_cast<std::size_t>(image.height() * image.width() * 3);
  EXPECT_TRUE(std::equal(image.pixels(), image.pixels() + size, decoded.pixels()));

  const std::uint8_t padded[] = {1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0};
  vlm::Image small = vlm::Image::from_pixels(padded, 2, 2, 8);
  EXPECT_EQ(small.pixels()[6], 7);
  EXPECT_EQ(small.pixels()[11], 12);
  expect_error(vlm::ErrorKind::bad_request, "take 6 bytes, but lie 5 apart",
               [&] { vlm::Image::from_pixels(padded, 2, 2, 5); });
  expect_error(vlm::ErrorKind::bad_request, "a picture of 0 x 2",
               [&] { vlm::Image::from_pixels(padded, 0, 2); });
  expect_error(vlm::ErrorKind::bad_request, "picture", [&] { vlm::Image::from_memory("no picture", 10); });
}

TEST(Api, ErrorsSayWhatAndWhatToDo) {
  using Kind = vlm::ErrorKind;
  expect_error(Kind::not_found, "vlm pull no-such-org/model", [] { vlm::Model::load("no-such-org/model"); });
  expect_error(Kind::not_found, "no-such-folder: no such model", [] { vlm::Model::load("no-such-folder"); });
  expect_error(Kind::bad_request, "unknown precision \"f12\"", [] {
    vlm::LoadOptions options;
    options.precision = "f12";
    vlm::Model::load(in_case("llava-1.5-a/checkpoint"), options);
  });
  expect_error(Kind::not_found, "no-such.png", [] { vlm::Image::from_file("no-such.png"); });
  expect_error(Kind::unsupported, "llava-1.5 does not embed texts", [] { llava().embed_texts({"a"}); });
  expect_error(Kind::unsupported, "clip does not generate text", [] { clip().chat(); });
  expect_error(Kind::unsupported, "clip does not classify", [] { clip().classify(picture()); });
  expect_error(Kind::bad_request, "no pictures given", [] { clip().embed_images({}); });
  expect_error(Kind::bad_request, "no place for the label",
               [] { clip().classify(picture(), {"cat"}, 1, "a photo"); });
  expect_error(Kind::bad_request, "max_new_tokens is 0", [] { llava().chat().ask("a", {}, at_most(0)); });
  expect_error(Kind::bad_request, "-1 threads", [] { vlm::set_threads(-1); });
}

TEST(Api, LogGoesToTheSink) {
  std::string heard;
  vlm::set_log([&](vlm::LogLevel, const std::string& message) { heard += message; });
  vlm::Model::load(in_case("llava-1.5-a/checkpoint"));
  vlm::set_log({});
  EXPECT_NE(heard.find("config.json"), std::string::npos) << heard;  // keys without effect
}

}  // namespace
