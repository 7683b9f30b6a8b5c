#include "train/data/vocabulary.h"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace vlm::data {
namespace {

struct ShapeNames {
  const char* name;
  const char* plural;
  std::vector<std::pair<const char*, const char*>> synonyms;
};

const std::array<ShapeNames, num_shapes>& shape_names() {
  static const std::array<ShapeNames, num_shapes> table = {{
      {"circle", "circles", {{"disc", "discs"}, {"dot", "dots"}, {"disk", "disks"}}},
      {"square", "squares", {}},
      {"triangle", "triangles", {}},
      {"rectangle", "rectangles", {}},
      {"oval", "ovals", {{"ellipse", "ellipses"}}},
      {"star", "stars", {}},
      {"diamond", "diamonds", {{"rhombus", "rhombuses"}}},
      {"pentagon", "pentagons", {}},
      {"hexagon", "hexagons", {}},
      {"heart", "hearts", {}},
      {"cross", "crosses", {{"plus", "pluses"}, {"plus sign", "plus signs"}}},
      {"arrow", "arrows", {}},
      {"crescent", "crescents", {{"moon", "moons"}, {"half moon", "half moons"}}},
      {"ring", "rings", {}},
  }};
  return table;
}

constexpr std::array<const char*, num_hues> hue_names = {
    "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "black", "white", "gray"};
constexpr std::array<const char*, num_sizes> size_names = {"small", "medium", "large"};
constexpr std::array<const char*, num_places> place_names = {
    "top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right"};

// Hue in degrees, saturation and value, each from..to: far enough from the neighbours that people agree.
struct HsvRange {
  double h0, h1, s0, s1, v0, v1;
};
constexpr std::array<HsvRange, num_hues> hsv_ranges = {{
    {-7, 6, 0.78, 1, 0.74, 1},        // red
    {23, 36, 0.85, 1, 0.92, 1},       // orange
    {51, 60, 0.7, 1, 0.9, 1},         // yellow
    {96, 145, 0.55, 1, 0.42, 0.95},   // green
    {176, 188, 0.65, 1, 0.8, 1},      // cyan
    {212, 240, 0.72, 1, 0.6, 1},      // blue
    {268, 298, 0.55, 1, 0.45, 0.82},  // purple
    {320, 341, 0.3, 0.58, 0.95, 1},   // pink
    {18, 32, 0.6, 0.9, 0.32, 0.58},   // brown
    {0, 360, 0, 0.3, 0, 0.11},        // black
    {0, 360, 0, 0.03, 0.95, 1},       // white
    {0, 360, 0, 0.06, 0.42, 0.68},    // gray
}};

using Rgb = std::array<uint8_t, 3>;
const std::array<std::vector<Rgb>, num_hues>& pure_colours() {
  static const std::array<std::vector<Rgb>, num_hues> table = {{
      {{255, 0, 0}, {255, 0, 0}, {220, 20, 60}, {230, 25, 25}, {214, 39, 40}, {200, 0, 0}},
      {{255, 165, 0}, {255, 165, 0}, {255, 140, 0}, {255, 128, 0}, {255, 127, 14}},
      {{255, 255, 0}, {255, 255, 0}, {255, 215, 0}, {250, 220, 40}, {240, 230, 40}},
      {{0, 128, 0}, {0, 255, 0}, {34, 139, 34}, {0, 180, 0}, {44, 160, 44}, {50, 205, 50}},
      {{0, 255, 255}, {0, 220, 220}, {0, 200, 210}},
      {{0, 0, 255}, {0, 0, 255}, {30, 60, 220}, {65, 105, 225}, {31, 119, 180}, {30, 100, 255}},
      {{128, 0, 128}, {128, 0, 128}, {138, 43, 226}, {148, 0, 211}, {120, 40, 160}, {148, 103, 189}},
      {{255, 192, 203}, {255, 105, 180}, {255, 150, 190}, {255, 20, 147}},
      {{139, 69, 19}, {165, 42, 42}, {150, 75, 0}, {101, 67, 33}, {140, 86, 75}, {120, 72, 32}},
      {{0, 0, 0}, {0, 0, 0}, {20, 20, 20}},
      {{255, 255, 255}, {255, 255, 255}, {245, 245, 245}},
      {{128, 128, 128}, {128, 128, 128}, {120, 120, 120}, {150, 150, 150}, {105, 105, 105}},
  }};
  return table;
}

Colour from_hsv(double hue_degrees, double saturation, double value) {
  double sector = std::fmod(hue_degrees + 360, 360) / 60;
  double chroma = value * saturation;
  double second = chroma * (1 - std::abs(std::fmod(sector, 2) - 1));
  double base = value - chroma;
  std::array<double, 3> rgb{};
  switch (static_cast<int>(sector)) {
    case 0:
      rgb = {chroma, second, 0};
      break;
    case 1:
      rgb = {second, chroma, 0};
      break;
    case 2:
      rgb = {0, chroma, second};
      break;
    case 3:
      rgb = {0, second, chroma};
      break;
    case 4:
      rgb = {second, 0, chroma};
      break;
    default:
      rgb = {chroma, 0, second};
      break;
  }
  return {rgb[0] + base, rgb[1] + base, rgb[2] + base, 1};
}

std::string random_letters(int64_t length, Rng& rng) {
  std::string text;
  for (int64_t i = 0; i < length; ++i) text += static_cast<char>('A' + rng.below(26));
  return text;
}

std::string random_number(int64_t digits, Rng& rng) {
  std::string text;
  for (int64_t i = 0; i < digits; ++i) {
    text += static_cast<char>(i == 0 && digits > 1 ? '1' + rng.below(9) : '0' + rng.below(10));
  }
  return text;
}

}  // namespace

std::string name(Shape shape) {
  return shape_names()[static_cast<size_t>(shape)].name;
}
std::string name(Hue hue) {
  return hue_names[static_cast<size_t>(hue)];
}
std::string name(Size size) {
  return size_names[static_cast<size_t>(size)];
}
std::string name(Place place) {
  return place_names[static_cast<size_t>(place)];
}

std::string phrase(Place place) {
  switch (place) {
    case Place::center:
      return "in the center";
    case Place::left:
    case Place::right:
      return "on the " + name(place);
    default:
      return "at the " + name(place);
  }
}

std::string spoken(Shape shape, bool plural, Rng& rng) {
  const ShapeNames& names = shape_names()[static_cast<size_t>(shape)];
  if (!names.synonyms.empty() && rng.chance(0.2)) {
    const auto& synonym = rng.pick(names.synonyms);
    return plural ? synonym.second : synonym.first;
  }
  return plural ? names.plural : names.name;
}

std::string spoken(Hue hue, Rng& rng) {
  if (hue == Hue::gray && rng.chance(0.4)) return "grey";
  if (hue == Hue::purple && rng.chance(0.1)) return "violet";
  return name(hue);
}

std::string spoken(Size size, Rng& rng) {
  static const std::array<std::vector<std::string>, num_sizes> words = {
      {{"small", "small", "small", "little", "tiny"},
       {"medium", "medium", "medium-sized", "middle-sized"},
       {"large", "large", "big", "big", "huge"}}};
  return rng.pick(words[static_cast<size_t>(size)]);
}

std::string spoken(Place place, Rng& rng) {
  static const std::array<std::vector<std::string>, num_places> words = {
      {{"in the top left", "at the top left", "in the top left corner", "in the upper left",
        "at the upper left"},
       {"at the top", "at the top center", "at the top middle"},
       {"in the top right", "at the top right", "in the top right corner", "in the upper right"},
       {"on the left", "at the left", "in the middle left", "on the left side"},
       {"in the center", "in the middle", "at the center", "in the centre"},
       {"on the right", "at the right", "in the middle right", "on the right side"},
       {"in the bottom left", "at the bottom left", "in the bottom left corner", "in the lower left"},
       {"at the bottom", "at the bottom center", "at the bottom middle"},
       {"in the bottom right", "at the bottom right", "in the bottom right corner", "in the lower right"}}};
  return rng.pick(words[static_cast<size_t>(place)]);
}

Colour sample_colour(Hue hue, bool pure, Rng& rng) {
  if (pure) {
    const Rgb& rgb = rng.pick(pure_colours()[static_cast<size_t>(hue)]);
    return {rgb[0] / 255.0, rgb[1] / 255.0, rgb[2] / 255.0, 1};
  }
  const HsvRange& range = hsv_ranges[static_cast<size_t>(hue)];
  double degrees = rng.uniform(range.h0, range.h1);
  double saturation = rng.uniform(range.s0, range.s1);
  return from_hsv(degrees, saturation, rng.uniform(range.v0, range.v1));
}

double colour_distance(const Colour& a, const Colour& b) {
  return std::hypot(a.r - b.r, a.g - b.g, a.b - b.b);
}

std::string utf8(uint32_t codepoint) {
  std::string text;
  auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((codepoint >> shift) & 0x3F)); };
  if (codepoint < 0x80) {
    text += static_cast<char>(codepoint);
  } else if (codepoint < 0x800) {
    text += static_cast<char>(0xC0 | (codepoint >> 6));
    tail(0);
  } else if (codepoint < 0x10000) {
    text += static_cast<char>(0xE0 | (codepoint >> 12));
    tail(6);
    tail(0);
  } else {
    text += static_cast<char>(0xF0 | (codepoint >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
  return text;
}

Split split_of_text(const std::string& text) {
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return hash_text(lower) % 5 == 0 ? Split::test : Split::train;
}

std::string sample_text(Split split, Rng& rng) {
  double kind = rng.uniform();
  while (true) {
    std::string text;
    if (kind < 0.06) {  // two words
      const std::string &first = rng.pick(word_table()), &second = rng.pick(word_table());
      text = first + " " + second;
      if (text.size() > 8 || split_of_text(first) != split || split_of_text(second) != split) continue;
      if (rng.chance(0.85)) {
        std::transform(text.begin(), text.end(), text.begin(),
                       [](unsigned char c) { return std::toupper(c); });
      }
    } else if (kind < 0.5) {
      text = rng.pick(word_table());
      double writing = rng.uniform();
      if (writing < 0.85) {
        std::transform(text.begin(), text.end(), text.begin(),
                       [](unsigned char c) { return std::toupper(c); });
      } else if (writing < 0.9) {
        text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
      }
    } else if (kind < 0.75) {
      text = random_letters(rng.between(1, 5), rng);
    } else {
      text = random_number(rng.between(1, 4), rng);
    }
    bool two_words = text.find(' ') != std::string::npos;
    if (two_words || text.size() == 1 || split_of_text(text) == split) return text;
  }
}

}  // namespace vlm::data
