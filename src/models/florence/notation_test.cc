#include "models/florence/notation.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace vlm::florence {
namespace {

constexpr int64_t kSide = 1000;  // a bin is a pixel

ParsedAnswer read(const std::string& text, Notation notation) {
  return read_notation(text, notation, kSide, kSide);
}

TEST(FlorenceNotation, EveryFurtherFourBinsRepeatTheLabel) {
  ParsedAnswer answer =
      read("dog<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8><loc_9>cat<loc_1><loc_2><loc_3>",
           Notation::labelled_boxes);
  ASSERT_EQ(answer.regions.size(), 2u);  // the ninth bin is left over, three bins are no box
  EXPECT_EQ(answer.regions[1].label, "dog");
  EXPECT_EQ(*answer.regions[1].box_xyxy, (std::array<double, 4>{5.5, 6.5, 7.5, 8.5}));
}

TEST(FlorenceNotation, BinsNeedWordsInFrontOfThem) {
  EXPECT_TRUE(read("<loc_1><loc_2><loc_3><loc_4>", Notation::labelled_boxes).regions.empty());
  EXPECT_EQ(read("<loc_1><loc_2><loc_3><loc_4>", Notation::boxes).regions.size(), 1u);
}

TEST(FlorenceNotation, LabelsAreAscii) {
  EXPECT_EQ(read("caf\xc3\xa9 <loc_1><loc_2><loc_3><loc_4>", Notation::labelled_boxes).regions.at(0).label,
            "caf");
}

TEST(FlorenceNotation, PronounsAreNoPhrases) {
  ParsedAnswer answer =
      read("it<loc_1><loc_2><loc_3><loc_4>its tail<loc_1><loc_2><loc_3><loc_4>", Notation::phrases);
  ASSERT_EQ(answer.regions.size(), 1u);
  EXPECT_EQ(answer.regions[0].label, "its tail");
  EXPECT_EQ(read("it<loc_1><loc_2><loc_3><loc_4>", Notation::labelled_boxes).regions.size(), 1u);
}

TEST(FlorenceNotation, LinesOfTextMayHoldTagsAndNumbers) {
  std::string corners = "<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8>";
  ParsedAnswer answer = read("A < B" + corners + "C<loc_9>D" + corners, Notation::quads);
  ASSERT_EQ(answer.regions.size(), 2u);
  EXPECT_EQ(answer.regions[0].label, "A < B");
  EXPECT_EQ(answer.regions[1].label, "C<loc_9>D");
  EXPECT_EQ((*answer.regions[1].quad)[7], 8.5);
}

TEST(FlorenceNotation, PartsAndObjectsOfPolygons) {
  ParsedAnswer one = read("<loc_1><loc_2><loc_3><loc_4><loc_5><sep><loc_6><loc_7>", Notation::polygons);
  ASSERT_EQ(one.regions.size(), 1u);
  ASSERT_EQ(one.regions[0].polygons.size(), 2u);
  EXPECT_EQ(one.regions[0].polygons[0].size(), 2u);  // the odd fifth is dropped
  ParsedAnswer two = read("dog<poly><loc_1><loc_2><loc_3><loc_4></poly><poly><loc_5><loc_6></poly>",
                          Notation::labelled_boxes_or_polygons);
  ASSERT_EQ(two.regions.size(), 2u);
  EXPECT_EQ(two.regions[1].label, "dog");
  EXPECT_FALSE(two.regions[1].box_xyxy.has_value());
}

TEST(FlorenceNotation, NonsenseIsNothing) {
  for (const char* text : {"", "<", "<loc_>", "<loc_99999999999999999999>", "x<loc_1", "a<loc_1><loc_2",
                           "<poly></poly>", "</poly><poly><sep><sep>", "<sep><sep><sep><sep>"})
    for (Notation notation : {Notation::labelled_boxes, Notation::phrases, Notation::boxes, Notation::quads,
                              Notation::polygons, Notation::labelled_boxes_or_polygons})
      EXPECT_TRUE(read(text, notation).regions.empty()) << text;
}

TEST(FlorenceTasks, HoldTheirInput) {
  Request request;
  request.task_prompt = "<CAPTION_TO_PHRASE_GROUNDING>";
  EXPECT_EQ(question_of(request, " a dog ").text, "Locate the phrases in the caption: a dog");
  request.task_prompt = "";
  EXPECT_EQ(question_of(request, "<OPEN_VOCABULARY_DETECTION>a dog").text, "Locate a dog in the image.");
  EXPECT_EQ(question_of(request, "What is this?").task, nullptr);
  request.task_prompt = "<REGION_TO_OCR>";
  request.images.push_back(Image::filled(100, 200, {0, 0, 0}));
  request.regions.boxes_xyxy = {{-5, 10, 100, 100}};
  EXPECT_EQ(question_of(request, "").text, "What text is in the region <loc_0><loc_100><loc_500><loc_999>?");
}

TEST(FlorenceTasks, RefuseWhatHasNoPlace) {
  auto message_of = [](const Request& request, const std::string& text) -> std::string {
    try {
      question_of(request, text);
    } catch (const Error& error) {
      return error.message();
    }
    return "";
  };
  Request request;
  request.task_prompt = "<OD>";
  EXPECT_EQ(message_of(request, "a dog"), "<OD> takes no text, \"a dog\" was given");
  request.regions.points.push_back({1, 2});
  EXPECT_EQ(message_of(request, ""), "<OD> takes no points and no masks");
  request = {};
  request.regions.boxes_xyxy = {{1, 2, 3, 4}};
  EXPECT_EQ(message_of(request, "What is this?"), "a box without a task");
}

TEST(FlorenceTasks, AddTheAuthorsTokens) {
  std::vector<std::string> tokens = location_tokens();
  EXPECT_EQ(tokens.size(), 1024u);
  EXPECT_EQ(tokens[4], "<loc_0>");
  EXPECT_EQ(tokens.back(), "<and>");
}

}  // namespace
}  // namespace vlm::florence
