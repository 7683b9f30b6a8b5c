// Stop strings over streamed text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vlm {

// Holds back text that could be the beginning of a stop string. What comes out does not depend on how the
// text was cut into pieces: the stop string that is complete first wins, of several the one that begins
// first.
class StopMatcher {
 public:
  // Throws bad_request when a stop string is empty.
  explicit StopMatcher(std::vector<std::string> stops);

  // The text that is now certain to come before any stop string; nothing more after a hit.
  std::string push(std::string_view piece);
  // The text held back at the end of the answer.
  std::string finish();

  bool is_hit() const { return !matched_.empty(); }
  const std::string& matched() const { return matched_; }  // the stop string that was met

 private:
  std::vector<std::string> stops_;
  std::string held_;
  std::string matched_;
};

}  // namespace vlm
