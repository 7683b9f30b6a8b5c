// PaliGemma's notation of places: <locYYYY><locXXXX><locYYYY><locXXXX> label, after which <segNNN> sixteen
// times for a mask; objects are separated by " ; ".
#pragma once

#include <string>
#include <vector>

#include "system/answer.h"

namespace vlm::paligemma {

struct Object {
  Region region;               // label and box
  std::vector<int64_t> codes;  // of its mask; empty: none
};
struct Notes {
  std::string text;  // without tokens of places
  std::vector<Object> objects;
};
Notes read_notation(const std::string& text, int64_t height, int64_t width);
// The beginning of that text which stays, whatever `text` goes on with.
std::string settled_text(const std::string& text);

}  // namespace vlm::paligemma
