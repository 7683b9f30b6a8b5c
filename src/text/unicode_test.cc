#include "text/unicode.h"

#include <gtest/gtest.h>

#include <chrono>

namespace vlm {
namespace {

TEST(Unicode, IllFormedPartsBecomeOneReplacementEach) {
  EXPECT_EQ(valid_utf8("a\xff"
                       "b"),
            "a\ufffd"
            "b");
  EXPECT_EQ(valid_utf8("\xe2\x82"), "\ufffd");                  // a character cut short
  EXPECT_EQ(valid_utf8("\xe2\x82z"), "\ufffdz");                // the same, with something behind
  EXPECT_EQ(valid_utf8("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");  // a surrogate
  EXPECT_EQ(valid_utf8("\xc0\x80"), "\ufffd\ufffd");            // longer than needed
  EXPECT_EQ(valid_utf8("\xf4\x90\x80\x80"), "\ufffd\ufffd\ufffd\ufffd");
  EXPECT_TRUE(is_valid_utf8("\U0010ffff\u00e9"));
}

TEST(Unicode, NormalForms) {
  EXPECT_EQ(normalize("e\u0301", NormalForm::nfc), "\u00e9");
  EXPECT_EQ(normalize("\u00e9", NormalForm::nfd), "e\u0301");
  EXPECT_EQ(normalize("\ufb01\u2460\uff21", NormalForm::nfkc), "fi1A");
  EXPECT_EQ(normalize("q\u0307\u0323", NormalForm::nfd), "q\u0323\u0307");
  EXPECT_EQ(normalize("\ud55c", NormalForm::nfd), "\u1112\u1161\u11ab");
  EXPECT_EQ(normalize("\u1112\u1161\u11ab", NormalForm::nfc), "\ud55c");
  EXPECT_EQ(normalize("\u212b", NormalForm::nfc), "\u00c5");
}

TEST(Unicode, LongRunsOfMarksTakeLinearTime) {
  std::string marks = "a";
  for (int index = 0; index < 100000; ++index) marks += index % 2 == 0 ? "\u0315" : "\u0300";
  auto start = std::chrono::steady_clock::now();
  std::string sorted = normalize(marks, NormalForm::nfd);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  EXPECT_EQ(sorted.size(), marks.size());
  EXPECT_TRUE(sorted.ends_with("\u0315"));
}

TEST(Unicode, LowerCase) {
  EXPECT_EQ(lower_text("\u0130STANBUL \u03a3\u1e9e"), "i\u0307stanbul \u03c3\u00df");
  EXPECT_EQ(lower_with_final_sigma("\u039f\u03a3 \u03a3 A\u03a3. \u03a3\u0391"),
            "\u03bf\u03c2 \u03c3 a\u03c2. \u03c3\u03b1");
}

TEST(Unicode, GraphemesKeepFamiliesTogether) {
  EXPECT_EQ(grapheme_boundaries("a\u0301b").size(), 3u);
  EXPECT_EQ(grapheme_boundaries("\U0001f469\u200d\U0001f467").size(), 2u);
  EXPECT_EQ(grapheme_boundaries("\U0001f1eb\U0001f1f7\U0001f1e9\U0001f1ea").size(), 3u);
}

}  // namespace
}  // namespace vlm
