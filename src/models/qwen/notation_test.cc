#include "models/qwen/notation.h"

#include <gtest/gtest.h>

#include "system/answer_stream_testing.h"

namespace vlm::qwen {
namespace {

Request picture(int64_t height, int64_t width) {
  Request request;
  request.images.push_back(Image::filled(height, width, {0, 0, 0}));
  return request;
}

TEST(Notation, BoxesBecomePixels) {
  ParsedAnswer answer = read_regions(
      "There is <|object_ref_start|>a dog<|object_ref_end|><|box_start|>(100,250),(500,1000)<|box_end|> "
      "here.",
      kQwen2Marks, picture(200, 400));
  EXPECT_EQ(answer.text, "There is a dog here.");
  ASSERT_EQ(answer.regions.size(), 1u);
  const Region& region = answer.regions[0];
  EXPECT_EQ(region.label, "a dog");
  ASSERT_TRUE(region.box_xyxy);
  EXPECT_EQ(*region.box_xyxy, (std::array<double, 4>{40, 50, 200, 200}));
  ASSERT_TRUE(region.text_span);
  EXPECT_EQ(*region.text_span, (std::array<int64_t, 2>{9, 14}));
}

TEST(Notation, ALabelStandsForAllItsPlaces) {
  ParsedAnswer answer = read_regions(
      "<|object_ref_start|>Zwerge \xC3\xBC<|object_ref_end|><|box_start|>(0,0),(10,10)<|box_end|>"
      "<|box_start|>( 20, 20 ),(30,30)<|box_end|>"
      "<|quad_start|>(0,0),(1000,0),(1000,1000),(0,1000)<|quad_end|>",
      kQwen2Marks, picture(100, 50));
  EXPECT_EQ(answer.text, "Zwerge \xC3\xBC");
  ASSERT_EQ(answer.regions.size(), 3u);
  for (const Region& region : answer.regions) {
    EXPECT_EQ(region.label, "Zwerge \xC3\xBC");
    EXPECT_EQ(*region.text_span, (std::array<int64_t, 2>{0, 8}));  // characters, not bytes
  }
  EXPECT_EQ(*answer.regions[1].box_xyxy, (std::array<double, 4>{1, 2, 1.5, 3}));
  EXPECT_EQ(*answer.regions[2].quad, (std::array<double, 8>{0, 0, 50, 0, 50, 100, 0, 100}));
}

TEST(Notation, TheLastPictureIsMeant) {
  Request request = picture(100, 100);
  request.images.push_back(Image::filled(10, 1000, {0, 0, 0}));
  ParsedAnswer answer = read_regions("<|box_start|>(1,100),(2,200)<|box_end|>", kQwen2Marks, request);
  ASSERT_EQ(answer.regions.size(), 1u);
  EXPECT_EQ(answer.regions[0].image, 1);
  EXPECT_EQ(answer.regions[0].label, "");
  EXPECT_EQ(*answer.regions[0].box_xyxy, (std::array<double, 4>{1, 1, 2, 2}));
}

TEST(Notation, WhatDoesNotParseStays) {
  for (const char* text :
       {"<|box_start|>(1,2),(3<|box_end|>", "<|box_start|>(1,2)<|box_end|>", "<|box_start|>(1,2),(3,4)",
        "<|box_start|>(1,2),(3,4),(5,6)<|box_end|>", "<|object_ref_start|>a dog",
        "<|box_start|>(-1,2),(3,4)<|box_end|>", "<|quad_start|>(1,2),(3,4)<|quad_end|>"}) {
    ParsedAnswer answer = read_regions(text, kQwen2Marks, picture(10, 10));
    EXPECT_EQ(answer.text, text);
    EXPECT_TRUE(answer.regions.empty()) << text;
  }
}

TEST(Notation, TextSettlesWhileItComes) {
  const std::string box = "<|box_start|>(100,250),(500,1000)<|box_end|>";
  for (const std::string& whole : std::vector<std::string>{
           "There is <|object_ref_start|>a dog<|object_ref_end|>" + box + " here, " + box + box + "!",
           "a < b <| c <|box_start|>(1,2)<|box_end|> d" + box + " e",
           "one <|quad_start|>(0,0),(1,0),(1,1),(0,1)<|quad_end|>, two <|box_start|>(1,2),(3,4)"}) {
    std::string text = read_regions(whole, kQwen2Marks, picture(10, 10)).text;
    expect_settles(whole, text, [](const std::string& so_far) { return settled_text(so_far, kQwen2Marks); });
  }
  EXPECT_EQ(settled_text("a dog<|box_start|>(1,2", kQwen2Marks), "a dog");
  EXPECT_EQ(settled_text("a dog <", kQwen2Marks), "a dog ");
  EXPECT_EQ(settled_text("a dog < b", kQwen2Marks), "a dog < b");
}

}  // namespace
}  // namespace vlm::qwen
