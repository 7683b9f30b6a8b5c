// What must hold of every AnswerStreamer, for its tests.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace vlm {

// Whatever has come of `whole`, what `settled` makes of it is the beginning of `text` and never gets shorter.
// Returns how much of `text` was told before the end, for tests to ask that it be enough.
inline size_t expect_settles(const std::string& whole, const std::string& text,
                             const std::function<std::string(const std::string&)>& settled) {
  std::string before;
  for (size_t size = 0; size < whole.size(); ++size) {
    std::string told = settled(whole.substr(0, size));
    EXPECT_TRUE(text.starts_with(told)) << "\"" << told << "\" behind " << size << " bytes of " << whole;
    EXPECT_GE(told.size(), before.size()) << "behind " << size << " bytes of " << whole;
    before = std::move(told);
  }
  return before.size();
}

}  // namespace vlm
