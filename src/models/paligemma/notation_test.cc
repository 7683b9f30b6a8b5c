#include "models/paligemma/notation.h"

#include <gtest/gtest.h>

#include "system/answer_stream_testing.h"

namespace vlm::paligemma {
namespace {

TEST(PaligemmaNotation, RowsComeBeforeColumns) {
  Notes notes = read_notation(
      "<loc0000><loc0256><loc0512><loc1023> a cat ; <loc0001><loc0002><loc0003><loc0004> dog", 1024, 2048);
  ASSERT_EQ(notes.objects.size(), 2u);
  EXPECT_EQ(notes.objects[0].region.label, "a cat");
  EXPECT_EQ(*notes.objects[0].region.box_xyxy, (std::array<double, 4>{512, 0, 2046, 512}));
  EXPECT_EQ(notes.objects[1].region.label, "dog");
  EXPECT_TRUE(notes.objects[1].codes.empty());
}

TEST(PaligemmaNotation, MasksNeedAllSixteenCodes) {
  std::string box = "<loc0001><loc0002><loc0003><loc0004>", codes;
  for (int idx = 0; idx < 15; ++idx) codes += "<seg007>";
  EXPECT_TRUE(read_notation(box + codes + " cat", 10, 10).objects.at(0).codes.empty());
  Notes whole = read_notation(box + codes + "<seg127> cat", 10, 10);
  ASSERT_EQ(whole.objects.at(0).codes.size(), 16u);
  EXPECT_EQ(whole.objects[0].codes.back(), 127);
  EXPECT_EQ(whole.objects[0].region.label, "cat");
}

TEST(PaligemmaNotation, WordsWithoutPlacesStay) {
  Notes notes = read_notation("a cat <loc0001><loc0002> on a mat", 10, 10);
  EXPECT_TRUE(notes.objects.empty());
  EXPECT_EQ(notes.text, "a cat <loc0001><loc0002> on a mat");
  EXPECT_TRUE(read_notation("<loc000x><loc0002><loc0003><loc0004>", 10, 10).objects.empty());
}

TEST(PaligemmaNotation, TextSettlesWhileItComes) {
  std::string box = "<loc0001><loc0002><loc0003><loc0004>", codes;
  for (int idx = 0; idx < 16; ++idx) codes += "<seg007>";
  for (const std::string& whole : std::vector<std::string>{
           "a cat on a mat.", box + " a cat ; " + box + " dog",
           box + codes + " cat ; " + box + codes + " dog", "a cat <loc0001><loc0002> on <b>a</b> mat",
           "x <loc0001> " + box + "<loc0001> y", "a < b " + box + codes.substr(0, 40) + " c"}) {
    std::string text = read_notation(whole, 10, 10).text;
    expect_settles(whole, text, [](const std::string& so_far) { return settled_text(so_far); });
  }
  EXPECT_EQ(settled_text("a cat on a"), "a cat on a");
  EXPECT_EQ(settled_text(box + " cat ; <loc0"), "cat ;");
}

}  // namespace
}  // namespace vlm::paligemma
