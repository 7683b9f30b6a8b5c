#include "text/regex.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace vlm {
namespace {

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  std::vector<std::string> found;
  for (const Span& span : Regex::compile(pattern, "pattern")->find(text))
    if (span.is_match) found.push_back(text.substr(span.begin, span.end - span.begin));
  return found;
}

using Strings = std::vector<std::string>;

TEST(Regex, WhiteSpaceIsUnicodes) {
  EXPECT_EQ(matches("\\s", "a\u00a0b\u180ec\u3000d\u200b"), (Strings{"\u00a0", "\u3000"}));  // not U+180E
  EXPECT_EQ(matches("[^\\S\\n]+", " \t\n x"), (Strings{" \t", " "}));
}

TEST(Regex, LettersOfOnigurumasSyntax) {
  EXPECT_EQ(matches("\\h+", "xyzBEEFg12"), (Strings{"BEEF", "12"}));  // hexadecimal digits, not blanks
  EXPECT_EQ(matches("\\w+", "e\u0301t\u00e9 a\u00b2 \u24b6!"),
            (Strings{"e\u0301t\u00e9", "a\u00b2", "\u24b6"}));
  EXPECT_EQ(matches("\\v", "a\u2028\v"), (Strings{"\v"}));
  EXPECT_EQ(matches("(?m:a.b)", "a\nb"), (Strings{"a\nb"}));
  EXPECT_EQ(matches("^b$", "a\nb\nc"), (Strings{"b"}));
  EXPECT_EQ(matches("\\u00e9|\\x{e8}", "\u00e8\u00e9"), (Strings{"\u00e8", "\u00e9"}));
}

TEST(Regex, AnIntervalIsNeverPossessive) {
  EXPECT_EQ(matches("\\d{1,2}+", "12345"), (Strings{"12345"}));
  EXPECT_EQ(matches("a{,2}b", "aaab"), (Strings{"aab"}));
  EXPECT_EQ(matches("x{y", "x{y"), (Strings{"x{y"}));
}

TEST(Regex, ClassesNestAndIntersect) {
  EXPECT_EQ(matches("[a[b-d]&&[^c]]+", "abcd"), (Strings{"ab", "d"}));
  EXPECT_EQ(matches("[\\p{L}&&[^\\p{Han}]]+", "ab\u4e2dcd"), (Strings{"ab", "cd"}));
  EXPECT_EQ(matches("[^\\p{L}&&[^aeiou]]", "xay"), (Strings{"a"}));
  EXPECT_EQ(matches("[\\W\\d]+", "a1-b"), (Strings{"1-"}));
}

TEST(Regex, ScriptsDoNotTakeTheirExtensions) {
  EXPECT_EQ(matches("\\p{Han}+", "\u4e2d\u3001\u6587"), (Strings{"\u4e2d", "\u6587"}));
  EXPECT_EQ(matches("\\p{Letter}+|\\P{L}", "ab1"), (Strings{"ab", "1"}));
  EXPECT_EQ(matches("\\p{^Punct}", "a."), (Strings{"a"}));
}

TEST(Regex, EmptyMatchesAdvance) {
  auto spans = Regex::compile("x*", "pattern")->find("axb");
  ASSERT_EQ(spans.size(), 5u);  // "" a, x, b ""
  EXPECT_EQ(spans[2].begin, 1u);
  EXPECT_EQ(spans[2].end, 2u);
  EXPECT_EQ(Regex::literal("")->find("\u00e9a").size(), 5u);
}

TEST(Regex, BadPatternsAreRefusedByName) {
  for (const char* pattern :
       {"(", "[a", "a\\", "\\p{L", "\\p{Nonsense}", "[a&&]", "\\u12", "(?<n>a)\\k<n>"}) {
    try {
      Regex::compile(pattern, "tokenizer.json: pre_tokenizer.pattern.Regex");
      ADD_FAILURE() << pattern;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_checkpoint);
      EXPECT_NE(error.message().find("pre_tokenizer.pattern.Regex: the pattern"), std::string::npos)
          << error.message();
    }
  }
}

TEST(Regex, GivesUpInsteadOfBacktrackingForever) {
  auto regex = Regex::compile("(?:a+)+(?:b+)+c\\d", "pattern");
  try {
    regex->find(std::string(200, 'a') + std::string(200, 'b') + "c" + std::string(100, 'a'));
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("the pattern gave up"), std::string::npos);
  }
}

}  // namespace
}  // namespace vlm
