// Scenes: what is on a picture, sampled from a seed, and the drawing of it. Everything that questions are
// asked about is written here, so that answers come from the scene and never from the pixels.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "media/draw.h"
#include "media/image.h"
#include "train/data/random.h"
#include "train/data/vocabulary.h"

namespace vlm::data {

enum class Texture { flat, gradient, hatch, dots, checks, hollow };

// Lengths are parts of the picture's shorter side; positions parts of width and height, origin top left.
struct Object {
  Shape shape = Shape::circle;
  Hue hue = Hue::red;
  std::optional<Size> size;  // absent: between two sizes, so nobody is asked about it
  double x = 0, y = 0;       // the centre
  double radius = 0;         // of the circle that holds the whole shape
  double rotation = 0;       // radians
  double stretch = 1;        // height of rectangles, ovals and diamonds by their width
  double detail = 0;         // inner radius of stars, arm width of crosses and rings, ...
  Colour colour;
  Texture texture = Texture::flat;
  std::optional<Colour> outline;
  double outline_width = 0;
  bool shadow = false;
};

struct Text {
  std::string text;
  FontStyle font;       // size_px is that of a picture whose shorter side is 1
  double x = 0, y = 0;  // the centre
  double width = 0;     // of the text as drawn
  double height = 0;    // of its capital letters
  double rotation = 0;
  Hue hue = Hue::black;
  Colour colour;
  std::optional<Hue> panel_hue;  // a sign behind the text
  Colour panel;
  std::optional<Colour> panel_outline;
};

struct Picture {      // an emoji
  int64_t emoji = 0;  // index in emoji_table()
  double x = 0, y = 0;
  double radius = 0;
  double rotation = 0;
};

enum class Backdrop { plain, gradient, noise, stripes, blobs, checks };
struct Background {
  Backdrop kind = Backdrop::plain;
  std::optional<Hue> hue;  // when plain and of a colour with a name
  Colour first, second;
  double scale = 0.1;  // of stripes, checks and blobs
  double angle = 0;
};

struct Effects {
  int64_t oversampling = 1;  // drawn larger by this and scaled down
  bool aliased = false;      // hard edges: scaled down by leaving out pixels
  int64_t jpeg_quality = 0;  // 0: none
  double blur = 0;           // weight of the neighbours
  double brightness = 1, contrast = 1;
  double grain = 0;  // standard deviation, 0..255
};

struct Scene {
  uint64_t seed = 0;  // of what has no meaning: noise, grain
  std::vector<Object> objects;
  std::vector<Text> texts;
  std::vector<Picture> pictures;
  Background background;
  Effects effects;
};

struct SceneOptions {
  Split split = Split::train;
  int64_t max_objects = 6;
  double text_share = 0.30;   // of scenes with something to read
  double emoji_share = 0.10;  // of scenes with emoji; none when their font is not installed
  double plain_share = 0.40;  // of scenes as other programs draw them: flat, pure colours, no effects
};

Scene sample_scene(uint64_t seed, const SceneOptions& options = {});
Image draw(const Scene& scene, int64_t height, int64_t width);

// The outline with the circle that holds it at (0, 0) with radius 1. Rings have none: they are strokes.
std::vector<Point> outline_of(const Object& object);
double area_of(const Object& object);  // in squares of the picture's shorter side

// True where an emoji font is installed.
bool has_emoji_font();

}  // namespace vlm::data
