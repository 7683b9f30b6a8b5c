#include "media/draw.h"

#include <cairo.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace vlm {
namespace {

constexpr int64_t max_canvas_side = 32767;  // cairo's own limit for image surfaces

// Cairo enters an error state for good on malformed UTF-8, and text may come out of a model: bytes that do
// not form a character become U+FFFD, control characters become spaces.
std::string drawable(const std::string& text) {
  std::string result;
  size_t at = 0;
  while (at < text.size()) {
    auto byte = static_cast<unsigned char>(text[at]);
    size_t length = byte < 0x80                   ? 1
                    : byte >= 0xC2 && byte < 0xE0 ? 2
                    : byte >= 0xE0 && byte < 0xF0 ? 3
                    : byte >= 0xF0 && byte < 0xF5 ? 4
                                                  : 0;
    bool valid = length > 0 && at + length <= text.size();
    for (size_t i = 1; valid && i < length; ++i) valid = (text[at + i] & 0xC0) == 0x80;
    if (valid && length > 2) {  // overlong forms, surrogates, beyond U+10FFFF
      auto second = static_cast<unsigned char>(text[at + 1]);
      valid = !(byte == 0xE0 && second < 0xA0) && !(byte == 0xED && second > 0x9F) &&
              !(byte == 0xF0 && second < 0x90) && !(byte == 0xF4 && second > 0x8F);
    }
    if (!valid) {
      result += "\xEF\xBF\xBD";
      ++at;
    } else {
      if (byte < 0x20 || byte == 0x7F) {
        result += ' ';
      } else {
        result.append(text, at, length);
      }
      at += length;
    }
  }
  return result;
}

void set_source(cairo_t* context, const Colour& colour) {
  cairo_set_source_rgba(context, colour.r, colour.g, colour.b, colour.a);
}

void polygon_path(cairo_t* context, const std::vector<Point>& corners) {
  cairo_new_path(context);
  for (const Point& corner : corners) cairo_line_to(context, corner.x, corner.y);
}

// False for an ellipse without an area, whose transform cairo could not invert.
bool ellipse_path(cairo_t* context, Point centre, double radius_x, double radius_y, double rotation) {
  cairo_new_path(context);
  if (!(radius_x > 1e-6 && radius_y > 1e-6)) return false;
  cairo_matrix_t matrix;
  cairo_get_matrix(context, &matrix);
  cairo_translate(context, centre.x, centre.y);
  cairo_rotate(context, rotation);
  cairo_scale(context, radius_x, radius_y);
  cairo_arc(context, 0, 0, 1, 0, 2 * std::numbers::pi);
  cairo_close_path(context);
  cairo_set_matrix(context, &matrix);
  return true;
}

void select_font(cairo_t* context, const FontStyle& font) {
  cairo_select_font_face(context, font.family.c_str(),
                         font.italic ? CAIRO_FONT_SLANT_ITALIC : CAIRO_FONT_SLANT_NORMAL,
                         font.bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(context, font.size_px);
}

}  // namespace

struct Canvas::State {
  int64_t height, width;
  cairo_surface_t* surface;
  cairo_t* context;
  int64_t clips = 0;

  State(int64_t height, int64_t width) : height(height), width(width) {
    if (height < 1 || width < 1 || height > max_canvas_side || width > max_canvas_side) {
      fail(ErrorKind::bad_request, "scale the picture down first",
           "cannot draw on a picture of {} x {} pixels: sides of 1 to {} can be drawn on", width, height,
           max_canvas_side);
    }
    surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(width), static_cast<int>(height));
    context = cairo_create(surface);
    if (cairo_status(context) != CAIRO_STATUS_SUCCESS) {
      std::string reason = cairo_status_to_string(cairo_status(context));
      cairo_destroy(context);
      cairo_surface_destroy(surface);
      fail(ErrorKind::out_of_resources, "use a smaller picture", "a canvas of {} x {} pixels: {}", width,
           height, reason);
    }
    cairo_set_line_join(context, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_cap(context, CAIRO_LINE_CAP_ROUND);
    // Grey anti-aliasing and unhinted widths: the same glyphs on every machine and at every place of a line.
    cairo_font_options_t* options = cairo_font_options_create();
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_set_font_options(context, options);
    cairo_font_options_destroy(options);
  }
  ~State() {
    cairo_destroy(context);
    cairo_surface_destroy(surface);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Canvas::Canvas(int64_t height, int64_t width, Colour background)
    : state_(std::make_unique<State>(height, width)) {
  set_source(state_->context, background);
  cairo_paint(state_->context);
}

Canvas::Canvas(const Image& image) : state_(std::make_unique<State>(image.height, image.width)) {
  unsigned char* data = cairo_image_surface_get_data(state_->surface);
  int stride = cairo_image_surface_get_stride(state_->surface);
  for (int64_t y = 0; y < image.height; ++y) {
    auto* target = reinterpret_cast<uint32_t*>(data + y * stride);
    const uint8_t* source = image.row(y);
    for (int64_t x = 0; x < image.width; ++x, source += 3) {
      target[x] = uint32_t{source[0]} << 16 | uint32_t{source[1]} << 8 | source[2];
    }
  }
  cairo_surface_mark_dirty(state_->surface);
}

Canvas::~Canvas() = default;
Canvas::Canvas(Canvas&&) noexcept = default;
Canvas& Canvas::operator=(Canvas&&) noexcept = default;

void Canvas::fill_polygon(const std::vector<Point>& corners, Colour colour) {
  set_source(state_->context, colour);
  polygon_path(state_->context, corners);
  cairo_fill(state_->context);
}

void Canvas::stroke_polygon(const std::vector<Point>& corners, Colour colour, double width_px, bool closed) {
  set_source(state_->context, colour);
  polygon_path(state_->context, corners);
  if (closed) cairo_close_path(state_->context);
  cairo_set_line_width(state_->context, width_px);
  cairo_stroke(state_->context);
}

void Canvas::fill_ellipse(Point centre, double radius_x, double radius_y, double rotation_rad,
                          Colour colour) {
  if (!ellipse_path(state_->context, centre, radius_x, radius_y, rotation_rad)) return;
  set_source(state_->context, colour);
  cairo_fill(state_->context);
}

void Canvas::stroke_ellipse(Point centre, double radius_x, double radius_y, double rotation_rad,
                            Colour colour, double width_px) {
  if (!ellipse_path(state_->context, centre, radius_x, radius_y, rotation_rad)) return;
  set_source(state_->context, colour);
  cairo_set_line_width(state_->context, width_px);
  cairo_stroke(state_->context);
}

void Canvas::fill_rectangle(double x, double y, double width, double height, Colour colour) {
  set_source(state_->context, colour);
  cairo_new_path(state_->context);
  cairo_rectangle(state_->context, x, y, width, height);
  cairo_fill(state_->context);
}

void Canvas::stroke_rectangle(double x, double y, double width, double height, Colour colour,
                              double width_px) {
  cairo_t* context = state_->context;
  set_source(context, colour);
  cairo_new_path(context);
  cairo_rectangle(context, x, y, width, height);
  cairo_set_line_width(context, width_px);
  cairo_set_line_join(context, CAIRO_LINE_JOIN_MITER);
  cairo_stroke(context);
  cairo_set_line_join(context, CAIRO_LINE_JOIN_ROUND);
}

void Canvas::fill_gradient(Colour top, Colour bottom) {
  cairo_pattern_t* pattern = cairo_pattern_create_linear(0, 0, 0, static_cast<double>(state_->height));
  cairo_pattern_add_color_stop_rgba(pattern, 0, top.r, top.g, top.b, top.a);
  cairo_pattern_add_color_stop_rgba(pattern, 1, bottom.r, bottom.g, bottom.b, bottom.a);
  cairo_set_source(state_->context, pattern);
  cairo_paint(state_->context);
  cairo_pattern_destroy(pattern);
}

void Canvas::push_clip(const std::vector<Point>& corners) {
  cairo_save(state_->context);
  ++state_->clips;
  polygon_path(state_->context, corners);
  cairo_clip(state_->context);
}

void Canvas::push_clip_ellipse(Point centre, double radius_x, double radius_y, double rotation_rad) {
  cairo_save(state_->context);
  ++state_->clips;
  ellipse_path(state_->context, centre, radius_x, radius_y, rotation_rad);
  cairo_clip(state_->context);
}

void Canvas::pop_clip() {
  VLM_CHECK(state_->clips > 0, "pop_clip without push_clip");
  --state_->clips;
  cairo_restore(state_->context);
}

void Canvas::text(Point baseline_left, const std::string& utf8, const FontStyle& font, Colour colour,
                  double rotation_rad) {
  cairo_t* context = state_->context;
  cairo_save(context);
  select_font(context, font);
  set_source(context, colour);
  cairo_new_path(context);
  cairo_translate(context, baseline_left.x, baseline_left.y);
  cairo_rotate(context, rotation_rad);
  cairo_move_to(context, 0, 0);
  cairo_show_text(context, drawable(utf8).c_str());
  cairo_restore(context);
  cairo_new_path(context);
}

Canvas::Extent Canvas::measure(const std::string& utf8, const FontStyle& font) const {
  select_font(state_->context, font);
  cairo_text_extents_t text;
  cairo_font_extents_t face;
  cairo_text_extents(state_->context, drawable(utf8).c_str(), &text);
  cairo_font_extents(state_->context, &face);
  return {text.x_advance, face.ascent + face.descent, face.ascent};
}

void Canvas::blend_mask(const std::vector<uint8_t>& mask, Colour colour) {
  VLM_CHECK(mask.size() == static_cast<size_t>(state_->height * state_->width),
            "mask of {} values on a canvas of {} x {}", mask.size(), state_->width, state_->height);
  cairo_surface_t* stencil = cairo_image_surface_create(CAIRO_FORMAT_A8, static_cast<int>(state_->width),
                                                        static_cast<int>(state_->height));
  unsigned char* data = cairo_image_surface_get_data(stencil);
  int stride = cairo_image_surface_get_stride(stencil);
  if (data) {
    for (int64_t y = 0; y < state_->height; ++y) {
      const uint8_t* source = mask.data() + y * state_->width;
      std::transform(source, source + state_->width, data + y * stride,
                     [](uint8_t value) -> uint8_t { return value ? 255 : 0; });
    }
    cairo_surface_mark_dirty(stencil);
    set_source(state_->context, colour);
    cairo_mask_surface(state_->context, stencil, 0, 0);
  }
  cairo_surface_destroy(stencil);
}

Image Canvas::image() const {
  cairo_status_t status = cairo_status(state_->context);
  VLM_CHECK(status == CAIRO_STATUS_SUCCESS, "cairo: {}", cairo_status_to_string(status));
  cairo_surface_flush(state_->surface);
  const unsigned char* data = cairo_image_surface_get_data(state_->surface);
  int stride = cairo_image_surface_get_stride(state_->surface);
  Image image = Image::of_size(state_->height, state_->width);
  for (int64_t y = 0; y < image.height; ++y) {
    const auto* source = reinterpret_cast<const uint32_t*>(data + y * stride);
    uint8_t* target = image.row(y);
    for (int64_t x = 0; x < image.width; ++x, target += 3) {
      target[0] = static_cast<uint8_t>(source[x] >> 16);
      target[1] = static_cast<uint8_t>(source[x] >> 8);
      target[2] = static_cast<uint8_t>(source[x]);
    }
  }
  return image;
}

}  // namespace vlm
