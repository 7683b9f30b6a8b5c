// Drawing a Scene.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "train/data/effects.h"
#include "train/data/scene.h"

namespace vlm::data {
namespace {

Colour mixed(const Colour& a, const Colour& b, double share) {
  return {a.r + (b.r - a.r) * share, a.g + (b.g - a.g) * share, a.b + (b.b - a.b) * share, a.a};
}

// A neighbour of the colour that still has its name.
Colour shade(const Colour& colour) {
  double light = (colour.r + colour.g + colour.b) / 3;
  if (light > 0.9) return mixed(colour, {0, 0, 0, 1}, 0.08);
  if (light < 0.12) return mixed(colour, {1, 1, 1, 1}, 0.1);
  return mixed(colour, {0, 0, 0, 1}, 0.22);
}

double smooth(double t) {
  return t * t * (3 - 2 * t);
}

// Values of a random grid, smoothly interpolated: 0..1, features of `scale` pixels.
class ValueNoise {
 public:
  ValueNoise(uint64_t seed, double scale) : seed_(seed), scale_(std::max(scale, 1.0)) {}
  double at(double x, double y) const {
    double column = std::floor(x / scale_), row = std::floor(y / scale_);
    double right = smooth(x / scale_ - column), down = smooth(y / scale_ - row);
    double top = corner(column, row) * (1 - right) + corner(column + 1, row) * right;
    double bottom = corner(column, row + 1) * (1 - right) + corner(column + 1, row + 1) * right;
    return top * (1 - down) + bottom * down;
  }

 private:
  double corner(double column, double row) const {
    uint64_t key = seed_ + static_cast<uint64_t>(static_cast<int64_t>(column)) * 0x9E3779B97F4A7C15U +
                   static_cast<uint64_t>(static_cast<int64_t>(row)) * 0xC2B2AE3D27D4EB4FU;
    return static_cast<double>(mix_bits(key) >> 11) * 0x1p-53;
  }
  uint64_t seed_;
  double scale_;
};

Image backdrop(const Scene& scene, int64_t height, int64_t width) {
  const Background& background = scene.background;
  auto byte = [](double value) { return static_cast<uint8_t>(std::clamp(value * 255 + 0.5, 0.0, 255.0)); };
  if (background.kind == Backdrop::plain) {
    const Colour& colour = background.first;
    return Image::filled(height, width, {byte(colour.r), byte(colour.g), byte(colour.b)});
  }
  double side = static_cast<double>(std::min(height, width));
  double scale = std::max(2.0, background.scale * side);
  double cosine = std::cos(background.angle), sine = std::sin(background.angle);
  ValueNoise coarse(scene.seed, scale), fine(scene.seed + 1, scale / 3);
  Rng rng(scene.seed ^ 0xB5);
  Image image = Image::of_size(height, width);
  for (int64_t row = 0; row < height; ++row) {
    for (int64_t column = 0; column < width; ++column) {
      auto x = static_cast<double>(column), y = static_cast<double>(row);
      double along = cosine * x + sine * y, across = cosine * y - sine * x;
      double share = 0;
      switch (background.kind) {
        case Backdrop::plain:
          break;
        case Backdrop::gradient:
          share = std::clamp(0.5 + (along - (cosine + sine) * side / 2) / side, 0.0, 1.0);
          break;
        case Backdrop::noise:
          share = rng.uniform();
          break;
        case Backdrop::stripes:
          share = along / scale - std::floor(along / scale) < 0.5 ? 0 : 1;
          break;
        case Backdrop::blobs:
          share = 0.7 * coarse.at(x, y) + 0.3 * fine.at(x, y);
          break;
        case Backdrop::checks:
          share = (static_cast<int64_t>(std::floor(along / scale)) +
                   static_cast<int64_t>(std::floor(across / scale))) &
                  1;
          break;
      }
      Colour colour = mixed(background.first, background.second, share);
      uint8_t* pixel = image.row(row) + column * 3;
      pixel[0] = byte(colour.r);
      pixel[1] = byte(colour.g);
      pixel[2] = byte(colour.b);
    }
  }
  return image;
}

class Painter {
 public:
  Painter(const Scene& scene, int64_t height, int64_t width)
      : scene_(scene),
        height_(static_cast<double>(height)),
        width_(static_cast<double>(width)),
        side_(std::min(height_, width_)),
        canvas_(backdrop(scene, height, width)) {}

  Image run() {
    std::vector<Object> objects = scene_.objects;  // where two overlap, the smaller one stays whole
    std::sort(objects.begin(), objects.end(),
              [](const Object& a, const Object& b) { return a.radius > b.radius; });
    for (const Object& object : objects) paint(object);
    for (const Picture& picture : scene_.pictures) paint(picture);
    for (const Text& text : scene_.texts) paint(text);
    return canvas_.image();
  }

 private:
  Point centre(double x, double y) const { return {x * width_, y * height_}; }

  void paint_ring(const Object& object) {
    double radius = object.radius * side_, band = object.detail * radius;
    Point middle = centre(object.x, object.y);
    double line = object.outline ? object.outline_width * side_ : 0;
    if (object.shadow) {
      Point below = {middle.x + 0.08 * radius, middle.y + 0.08 * radius};
      canvas_.stroke_ellipse(below, radius - band / 2, radius - band / 2, 0, {0, 0, 0, 0.3}, band);
    }
    if (object.outline) {
      canvas_.stroke_ellipse(middle, radius - band / 2, radius - band / 2, 0, *object.outline, band);
    }
    canvas_.stroke_ellipse(middle, radius - band / 2, radius - band / 2, 0, object.colour,
                           std::max(1.0, band - 2 * line));
  }

  void paint(const Object& object) {
    if (object.shape == Shape::ring) return paint_ring(object);
    double radius = object.radius * side_;
    Point middle = centre(object.x, object.y);
    double line = object.outline_width * side_;
    bool hollow = object.texture == Texture::hollow;
    double drawn = object.outline || hollow ? radius - line / 2 : radius;
    std::vector<Point> corners = outline_of(object);
    for (Point& corner : corners) corner = {middle.x + drawn * corner.x, middle.y + drawn * corner.y};
    if (object.shadow) {
      std::vector<Point> below = corners;
      for (Point& corner : below) corner = {corner.x + 0.08 * radius, corner.y + 0.08 * radius};
      if (hollow) {
        canvas_.stroke_polygon(below, {0, 0, 0, 0.25}, line);
      } else {
        canvas_.fill_polygon(below, {0, 0, 0, 0.3});
      }
    }
    if (hollow) {
      canvas_.stroke_polygon(corners, object.colour, line);
      return;
    }
    canvas_.fill_polygon(corners, object.colour);
    if (object.texture != Texture::flat) paint_texture(object, corners, middle, radius);
    if (object.outline) canvas_.stroke_polygon(corners, *object.outline, line);
  }

  void paint_texture(const Object& object, const std::vector<Point>& corners, Point middle, double radius) {
    Colour second = shade(object.colour);
    canvas_.push_clip(corners);
    double step = std::max(3.5, radius / 3.2);
    switch (object.texture) {
      case Texture::gradient:
        for (int band = 0; band < 12; ++band) {
          double top = middle.y - radius + 2 * radius * band / 12;
          Colour colour = mixed(object.colour, second, band / 11.0);
          canvas_.fill_rectangle(middle.x - radius, top, 2 * radius, radius / 6 + 0.5, colour);
        }
        break;
      case Texture::hatch:
        for (double at = -2 * radius; at < 2 * radius; at += step) {
          canvas_.stroke_polygon(
              {{middle.x + at, middle.y - radius}, {middle.x + at + radius, middle.y + radius}}, second,
              step * 0.4, false);
        }
        break;
      case Texture::dots:
        for (double y = -radius; y <= radius; y += step) {
          for (double x = -radius; x <= radius; x += step) {
            canvas_.fill_ellipse({middle.x + x, middle.y + y}, step * 0.25, step * 0.25, 0, second);
          }
        }
        break;
      case Texture::checks:
        for (int row = 0; row * step < 2 * radius; ++row) {
          for (int column = row % 2; column * step < 2 * radius; column += 2) {
            canvas_.fill_rectangle(middle.x - radius + column * step, middle.y - radius + row * step, step,
                                   step, second);
          }
        }
        break;
      case Texture::flat:
      case Texture::hollow:
        break;
    }
    canvas_.pop_clip();
  }

  // Draws text whose middle, by its width and the height of its capitals, lies at `middle`.
  void centred(const std::string& text, FontStyle font, Point middle, double capital_height, double rotation,
               const Colour& colour) {
    double half = canvas_.measure(text, font).width / 2, down = capital_height / 2;
    double cosine = std::cos(rotation), sine = std::sin(rotation);
    canvas_.text({middle.x - half * cosine - down * sine, middle.y - half * sine + down * cosine}, text, font,
                 colour, rotation);
  }

  void paint(const Picture& picture) {
    FontStyle font{"Noto Color Emoji", 0, false, false};
    std::string text = utf8(emoji_table()[static_cast<size_t>(picture.emoji)].codepoint);
    font.size_px = 100;
    double width = std::max(1.0, canvas_.measure(text, font).width);
    // The glyph's square lies inside the circle with a corner cut: emoji leave their corners empty.
    font.size_px = 100 * 1.62 * picture.radius * side_ / width;
    centred(text, font, centre(picture.x, picture.y), 0.72 * font.size_px, picture.rotation, {0, 0, 0, 1});
  }

  void paint(const Text& text) {
    Point middle = centre(text.x, text.y);
    if (text.panel_hue) {
      double half_width = (text.width / 2 + 0.04) * side_, half_height = (text.height / 2 + 0.055) * side_;
      double cosine = std::cos(text.rotation), sine = std::sin(text.rotation);
      std::vector<Point> corners = {{-half_width, -half_height},
                                    {half_width, -half_height},
                                    {half_width, half_height},
                                    {-half_width, half_height}};
      for (Point& corner : corners) {
        corner = {middle.x + cosine * corner.x - sine * corner.y,
                  middle.y + sine * corner.x + cosine * corner.y};
      }
      canvas_.fill_polygon(corners, text.panel);
      if (text.panel_outline) canvas_.stroke_polygon(corners, *text.panel_outline, 0.015 * side_);
    }
    FontStyle font = text.font;
    font.size_px *= side_;
    centred(text.text, font, middle, text.height * side_, text.rotation, text.colour);
  }

  const Scene& scene_;
  double height_, width_, side_;
  Canvas canvas_;
};

}  // namespace

Image draw(const Scene& scene, int64_t height, int64_t width) {
  const Effects& effects = scene.effects;
  int64_t factor = effects.oversampling;
  Image image = Painter(scene, height * factor, width * factor).run();
  if (factor > 1) image = shrink(image, factor, effects.aliased);
  Rng rng(scene.seed ^ 0xE7);
  if (effects.blur > 0) blur(image, effects.blur);
  if (effects.brightness != 1 || effects.contrast != 1) adjust(image, effects.brightness, effects.contrast);
  if (effects.grain > 0) add_grain(image, effects.grain, rng);
  if (effects.jpeg_quality > 0) jpeg_artefacts(image, effects.jpeg_quality);
  return image;
}

bool has_emoji_font() {
  static const bool found = [] {
    // Two emoji of different colours: without the font both are the same empty box, or grey.
    Canvas canvas(32, 32, {1, 1, 1, 1});
    canvas.text({2, 26}, utf8(0x1F34E), {"Noto Color Emoji", 24, false, false}, {0, 0, 0, 1});
    Image image = canvas.image();
    for (size_t i = 0; i + 2 < image.pixels.size(); i += 3) {
      if (image.pixels[i] > image.pixels[i + 2] + 60) return true;
    }
    return false;
  }();
  return found;
}

}  // namespace vlm::data
