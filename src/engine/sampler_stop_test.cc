#include "engine/sampler_stop.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace vlm {
namespace {

// Everything that comes out of `text` cut into pieces of `size` bytes.
std::string stream(StopMatcher& matcher, const std::string& text, size_t size) {
  std::string out;
  for (size_t at = 0; at < text.size(); at += size) out += matcher.push(text.substr(at, size));
  return matcher.is_hit() ? out : out + matcher.finish();
}

TEST(StopMatcher, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({"</s>", "\nUser:"});
  EXPECT_EQ(matcher.push("Hello <"), "Hello ");
  EXPECT_EQ(matcher.push("/"), "");
  EXPECT_EQ(matcher.push("b>\nUs"), "</b>");
  EXPECT_EQ(matcher.push("er: x"), "");
  EXPECT_TRUE(matcher.is_hit());
  EXPECT_EQ(matcher.matched(), "\nUser:");
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, DoesNotDependOnThePieces) {
  struct Row {
    std::vector<std::string> stops;
    std::string text, out, matched;
  };
  const std::vector<Row> rows = {
      {{"stop"}, "please stop now", "please ", "stop"},
      {{"stop"}, "please sto", "please sto", ""},
      {{"aab"}, "aaaab", "aa", "aab"},
      {{"bcd", "c"}, "abcd", "ab", "c"},
      {{"abc", "bc"}, "xabc", "x", "abc"},
      {{"abcd", "bcx"}, "abcx", "a", "bcx"},
      {{}, "all of it", "all of it", ""},
      {{"x"}, "", "", ""},
  };
  for (const Row& row : rows)
    for (size_t size = 1; size <= 6; ++size) {
      StopMatcher matcher(row.stops);
      EXPECT_EQ(stream(matcher, row.text, size), row.out) << row.text << " by " << size;
      EXPECT_EQ(matcher.matched(), row.matched) << row.text << " by " << size;
    }
}

TEST(StopMatcher, RefusesEmptyStops) {
  try {
    StopMatcher matcher({"a", ""});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "stop string 2 of 2 is empty");
  }
}

}  // namespace
}  // namespace vlm
