#include "models/interleaved/fuyu_places.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "models/interleaved/systems.h"
#include "system/answer_stream_testing.h"
#include "system/system.h"

namespace vlm::interleaved {
namespace {

using Box = std::array<double, 4>;

Checkpoint checkpoint() {
  return Checkpoint::open(VLM_SOURCE_DIR "/tests/cases/fuyu-a/checkpoint");
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(FuyuPlaces, PromptsAreHalvedAndScaled) {
  EXPECT_EQ(scale_places("a <box>12, 20, 64, 78</box> b", 1), "a <0x00>6 10 32 39<0x01> b");
  EXPECT_EQ(scale_places("<point>5, 7</point><point>40, 6</point>", 1),
            "<0x02>2 4<0x03><0x02>20 3<0x03>");  // 2.5 and 3.5 go to the even neighbour
  EXPECT_EQ(scale_places("<box>100, 200, 300, 400</box>", 0.25), "<0x00>12 25 38 50<0x01>");
}

TEST(FuyuPlaces, MarksWithoutTheirNumbersAreRefused) {
  EXPECT_NE(message_of([] { scale_places("<box>1, 2, 3</box>", 1); }).find("3 numbers instead of 4"),
            std::string::npos);
  EXPECT_NE(message_of([] { scale_places("<point>1, b</point>", 1); }).find("\"1, b\" is no list of pixels"),
            std::string::npos);
  EXPECT_NE(message_of([] { scale_places("<box>1, 2, 3, 4", 1); }).find("0 numbers instead of 4"),
            std::string::npos);
}

TEST(FuyuPlaces, AnswersAreWrittenOutAndRead) {
  Checkpoint fuyu = checkpoint();
  const Tokenizer& tokenizer = fuyu.tokens();
  std::vector<int64_t> ids = tokenizer.ids("the image", false);
  for (const char* token : {"<0x00>", "10", "12", "31", "39", "<0x01>"})
    ids.push_back(*tokenizer.token_to_id(token));
  for (int64_t id : tokenizer.ids("and", false)) ids.push_back(id);
  for (const char* token : {"<0x02>", "11", "30", "<0x03>"}) ids.push_back(*tokenizer.token_to_id(token));
  std::string text = write_places(tokenizer, ids);
  EXPECT_EQ(text, "the image<box>10, 12, 31, 39</box> and<point>11, 30</point>");
  ParsedAnswer answer = read_places(text, 0.75);
  EXPECT_EQ(answer.text, "the image and");
  ASSERT_EQ(answer.regions.size(), 2u);
  EXPECT_EQ(*answer.regions[0].box_xyxy, (Box{32, 26, 104, 82}));  // 2 * int(n / 0.75), x before y
  EXPECT_EQ(answer.regions[1].point->x, 28);
  EXPECT_EQ(answer.regions[1].point->y, 80);
}

TEST(FuyuPlaces, BrokenNotationStaysText) {
  for (const char* text :
       {"<box>1, 2</box>", "<box>1, 2, 3</box>", "<point>1, 2, 3, 4</point>", "<box>1, 2, 3, 4"}) {
    ParsedAnswer answer = read_places(text, 1);
    EXPECT_TRUE(answer.regions.empty()) << text;
    EXPECT_EQ(answer.text, text);
  }
}

TEST(FuyuPlaces, RegionsOfARequestStandBehindTheQuestion) {
  LoadedModel loaded = bind_model(checkpoint(), {}, "fuyu");
  const auto* generator = as<Generator>(*loaded.model);
  Request written, beside;
  written.images = beside.images = {Image::filled(40, 60, {9, 99, 200})};
  written.prompt = "What is it?\n<box>10, 12, 30, 40</box>";
  beside.prompt = "What is it?\n";
  beside.regions.boxes_xyxy = {{12, 10, 40, 30}};
  EXPECT_EQ(generator->prepare(beside).ids, generator->prepare(written).ids);
}

TEST(FuyuPlaces, OnePictureIsRead) {
  LoadedModel loaded = bind_model(checkpoint(), {}, "fuyu");
  Request request;
  request.prompt = "What?";
  request.images = {Image::filled(4, 4, {}), Image::filled(4, 4, {})};
  EXPECT_NE(message_of([&] { as<Generator>(*loaded.model)->prepare(request); }).find("2 pictures were given"),
            std::string::npos);
}

TEST(FuyuPlaces, TextSettlesWhileItComes) {
  for (const std::string& whole : std::vector<std::string>{
           " It is <box>1, 2, 3, 4</box> here <point>5, 6</point>.", " a < b <box>1, 2</box> c",
           "a <boy <point>1", "x <0x00>6 10 32 39<0x01> y"}) {
    std::string text = read_places(whole, 1).text;
    expect_settles(whole, text, [](const std::string& so_far) { return settled_text(so_far); });
  }
  EXPECT_EQ(settled_text(" It is <0x00>12"), " It is ");
  EXPECT_EQ(settled_text(" It is <po"), " It is ");
  EXPECT_EQ(settled_text(" 2 < 3 is"), " 2 < 3 is");
}

}  // namespace
}  // namespace vlm::interleaved
