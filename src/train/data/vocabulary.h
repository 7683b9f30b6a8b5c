// What scenes are made of, and what it is called.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "media/draw.h"
#include "train/data/random.h"

namespace vlm::data {

enum class Shape {
  circle,
  square,
  triangle,
  rectangle,
  oval,
  star,
  diamond,
  pentagon,
  hexagon,
  heart,
  cross,
  arrow,
  crescent,
  ring
};
constexpr int64_t num_shapes = 14;

enum class Hue { red, orange, yellow, green, cyan, blue, purple, pink, brown, black, white, gray };
constexpr int64_t num_hues = 12;

enum class Size { small, medium, large };
constexpr int64_t num_sizes = 3;

// The nine fields of a picture.
enum class Place { top_left, top, top_right, left, center, right, bottom_left, bottom, bottom_right };
constexpr int64_t num_places = 9;

// The names that answers use.
std::string name(Shape shape);
std::string name(Hue hue);
std::string name(Size size);
std::string name(Place place);
// "at the top left", "in the center"
std::string phrase(Place place);

// What questions may call it: the name or, seldom, a synonym.
std::string spoken(Shape shape, bool plural, Rng& rng);
std::string spoken(Hue hue, Rng& rng);
std::string spoken(Size size, Rng& rng);
std::string spoken(Place place, Rng& rng);

// A colour that everybody calls by this name. `pure` gives the values that programs use for the word, such as
// (255, 0, 0).
Colour sample_colour(Hue hue, bool pure, Rng& rng);
double colour_distance(const Colour& a, const Colour& b);  // 0..sqrt(3)

struct Emoji {
  uint32_t codepoint;
  const char* name;
};
const std::vector<Emoji>& emoji_table();
std::string utf8(uint32_t codepoint);

enum class Split { train, test };
// Words, numbers and letter strings to be read; those of the two splits differ, apart from single characters.
std::string sample_text(Split split, Rng& rng);
const std::vector<std::string>& word_table();  // lower case
Split split_of_text(const std::string& text);

}  // namespace vlm::data
