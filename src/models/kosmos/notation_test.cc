#include "models/kosmos/notation.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "system/answer_stream_testing.h"

namespace vlm::kosmos {
namespace {

constexpr int64_t kHeight = 64, kWidth = 320;  // cells of 2 x 10 pixels

ParsedAnswer read(const std::string& text) {
  return read_notation(text, kHeight, kWidth);
}

std::array<double, 4> box_of(const std::string& cells) {
  return *read("<object>" + cells + "</object>").regions.at(0).box_xyxy;
}

TEST(KosmosNotation, ThinBoxesReachTheCornersOthersTheCentres) {
  EXPECT_EQ(box_of("<patch_index_0033><patch_index_0033>"), (std::array<double, 4>{10, 2, 20, 4}));
  EXPECT_EQ(box_of("<patch_index_0000><patch_index_0003>"), (std::array<double, 4>{0, 0, 40, 2}));
  EXPECT_EQ(box_of("<patch_index_0000><patch_index_0064>"), (std::array<double, 4>{0, 0, 10, 6}));
  EXPECT_EQ(box_of("<patch_index_0000><patch_index_0033>"), (std::array<double, 4>{5, 1, 15, 3}));
}

TEST(KosmosNotation, SpansCountCharactersOfTheCleanText) {
  ParsedAnswer answer = read(
      " <grounding> Caf\xc3\xa9 with<phrase> a dog </phrase><object><patch_index_0000>"
      "<patch_index_0033></delimiter_of_multi_objects/><patch_index_0001><patch_index_0001>"
      "</object>.");
  EXPECT_EQ(answer.text, "Caf\xc3\xa9 with a dog .");
  ASSERT_EQ(answer.regions.size(), 2u);
  EXPECT_EQ(answer.regions[1].label, "a dog");
  EXPECT_EQ(*answer.regions[1].text_span, (std::array<int64_t, 2>{10, 15}));
}

TEST(KosmosNotation, WordsInBetweenSeparatePhraseAndPlace) {
  ParsedAnswer answer =
      read("<phrase> a dog</phrase> there<object><patch_index_0000><patch_index_0033></object>");
  ASSERT_EQ(answer.regions.size(), 1u);
  EXPECT_EQ(answer.regions[0].label, "");
}

TEST(KosmosNotation, NonsenseIsNothing) {
  for (const char* text :
       {"<object></object>", "<object><patch_index_0000></object>",
        "<object><patch_index_1024><patch_index_0000></object>",
        "<object><patch_index_99999999999999999999><patch_index_0000></object>",
        "<object><patch_index_0000><patch_index_", "<phrase> a dog</phrase>", "<phrase>", "<", "a < b"})
    EXPECT_TRUE(read(text).regions.empty()) << text;
  EXPECT_EQ(read("a < b").text, "a < b");
}

TEST(KosmosNotation, BoxesGoBehindTheirPhrases) {
  EXPECT_EQ(insert_boxes("<phrase> it</phrase> is", {{0, 0, 320, 64}}, kHeight, kWidth),
            "<phrase> it</phrase><object><patch_index_0000><patch_index_1023></object> is");
  EXPECT_EQ(cells_of({10, 2, 20, 4}, kHeight, kWidth), "<patch_index_0033><patch_index_0033>");
  EXPECT_EQ(cells_of({-9, -9, 9999, 9999}, kHeight, kWidth), "<patch_index_0000><patch_index_1023>");
  try {
    insert_boxes("What is it?", {{0, 0, 9, 9}}, kHeight, kWidth);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "the prompt has 0 phrases without a place, but 1 box was given");
  }
}

TEST(KosmosNotation, TextSettlesWhileItComes) {
  for (const std::string& whole : std::vector<std::string>{
           "<grounding> An image of<phrase> a "
           "snowman</phrase><object><patch_index_0044><patch_index_0863></object> "
           "by<phrase> a "
           "fire</phrase><object><patch_index_0005><patch_index_0911></delimiter_of_multi_objects/>"
           "<patch_index_0001><patch_index_0002></object>.",
           "a < b > c < d", "<phrase> open", "  <object> <patch_index_9999> x"}) {
    std::string text = read_notation(whole, 10, 10).text;
    expect_settles(whole, text, [](const std::string& so_far) { return settled_text(so_far); });
  }
  EXPECT_EQ(settled_text("<grounding> An image of<phrase> a sn"), "An image of a sn");
  EXPECT_EQ(settled_text("An image of<phr"), "An image of");
}

}  // namespace
}  // namespace vlm::kosmos
