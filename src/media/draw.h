// Drawing with Cairo: annotations on pictures, and the scenes that `vlm data make` draws.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "media/image.h"

namespace vlm {

struct Colour {
  double r = 0, g = 0, b = 0, a = 1;  // 0..1
};

struct Point {
  double x = 0, y = 0;  // pixels, origin top left
};

struct FontStyle {
  std::string family = "DejaVu Sans";
  double size_px = 16;
  bool bold = false;
  bool italic = false;
};

// An RGB canvas with anti-aliasing.
class Canvas {
 public:
  Canvas(int64_t height, int64_t width, Colour background);
  explicit Canvas(const Image& image);
  ~Canvas();
  Canvas(Canvas&&) noexcept;
  Canvas& operator=(Canvas&&) noexcept;

  void fill_polygon(const std::vector<Point>& corners, Colour colour);
  void stroke_polygon(const std::vector<Point>& corners, Colour colour, double width_px, bool closed = true);
  void fill_ellipse(Point centre, double radius_x, double radius_y, double rotation_rad, Colour colour);
  void stroke_ellipse(Point centre, double radius_x, double radius_y, double rotation_rad, Colour colour,
                      double width_px);
  void fill_rectangle(double x, double y, double width, double height, Colour colour);
  void stroke_rectangle(double x, double y, double width, double height, Colour colour, double width_px);
  void fill_gradient(Colour top, Colour bottom);  // the whole canvas, vertical
  void push_clip(const std::vector<Point>& corners);
  void push_clip_ellipse(Point centre, double radius_x, double radius_y, double rotation_rad);
  void pop_clip();
  void text(Point baseline_left, const std::string& utf8, const FontStyle& font, Colour colour,
            double rotation_rad = 0);
  struct Extent {
    double width, height, ascent;  // pixels
  };
  Extent measure(const std::string& utf8, const FontStyle& font) const;
  void blend_mask(const std::vector<uint8_t>& mask, Colour colour);  // [height, width], 0 or not

  Image image() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// An SVG drawing stretched to the size, on `background`. For drawings we made or trust: decode_image refuses
// SVG.
Image render_svg(std::span<const std::byte> bytes, int64_t height, int64_t width, Colour background);

// Boxes with labels, legible on pictures of any size: line width and font follow the picture's, labels never
// leave it.
struct Annotation {
  std::array<double, 4> box_xyxy{};  // pixels of the picture; ignored when `polygon` is given
  std::vector<Point> polygon;
  std::vector<uint8_t> mask;  // [height, width] or empty
  std::string label;
};
Image annotate(const Image& image, const std::vector<Annotation>& annotations);
// The picture with `caption` in a band below it, wrapped to the width.
Image with_caption(const Image& image, const std::string& caption);

}  // namespace vlm
