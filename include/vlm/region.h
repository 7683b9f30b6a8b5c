// Places in pictures: what a question speaks of, and what an answer points at. All numbers are pixels of the
// picture as it was given, origin top left.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vlm/abi.h"
#include "vlm/image.h"

namespace vlm::v0 {

using Point = std::array<double, 2>;  // x, y

// Places that a question speaks of, for systems that can take them; the others throw.
struct RegionPrompt {
  std::vector<std::array<double, 4>> boxes;  // left, top, right, bottom
  std::vector<Point> points;
  std::vector<bool> point_is_outside;  // for each point, or empty: all lie inside what is meant
  std::vector<Image> masks;            // white where it is
};

// Something that an answer points at. What the system does not say stays empty.
struct Region {
  std::string label;
  std::size_t image = 0;                     // which picture of the question
  std::optional<double> score;               // a probability
  std::optional<std::array<double, 4>> box;  // left, top, right, bottom
  std::optional<Point> point;
  std::optional<std::array<double, 8>> quad;        // four corners, in the order of the answer
  std::vector<std::vector<Point>> polygons;         // parts of one object
  std::vector<std::uint8_t> mask;                   // of the picture's size, row by row: 0 or 255
  std::optional<std::array<std::int64_t, 2>> span;  // of Answer::plain_text: [first, behind) in characters
};

// A function that an answer calls.
struct FunctionCall {
  std::string name;
  std::string arguments;  // JSON
};

}  // namespace vlm::v0
