// Boxes, outlines, masks and labels over a picture, and captions below it.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "media/draw.h"

namespace vlm {
namespace {

constexpr double line_spacing = 1.3;
constexpr int64_t longest_side = 32000;  // a captioned picture stays within what can be drawn on

// Apart from each other on photographs and for the common kinds of colour blindness.
const std::vector<Colour> cycle = {
    {0.90, 0.10, 0.16}, {0.05, 0.52, 0.98}, {1.00, 0.78, 0.05}, {0.15, 0.70, 0.30}, {0.93, 0.30, 0.85},
    {1.00, 0.50, 0.05}, {0.10, 0.80, 0.85}, {0.50, 0.25, 0.85}, {0.70, 0.90, 0.20}, {0.95, 0.60, 0.65}};

struct Rectangle {
  double x = 0, y = 0, width = 0, height = 0;
};

double overlap(const Rectangle& a, const Rectangle& b) {
  const double width = std::min(a.x + a.width, b.x + b.width) - std::max(a.x, b.x);
  const double height = std::min(a.y + a.height, b.y + b.height) - std::max(a.y, b.y);
  return width > 0 && height > 0 ? width * height : 0;
}

Colour on_top_of(const Colour& colour) {  // black or white, whichever reads better
  const double luma = 0.299 * colour.r + 0.587 * colour.g + 0.114 * colour.b;
  return luma > 0.55 ? Colour{0, 0, 0} : Colour{1, 1, 1};
}

Colour faded(Colour colour, double alpha) {
  colour.a = alpha;
  return colour;
}

size_t next_character(const std::string& text, size_t at) {
  do ++at;
  while (at < text.size() && (text[at] & 0xC0) == 0x80);
  return at;
}

// The longest beginning of `text`, in characters, that is at most `width` wide; at least one character.
size_t fitting_length(const Canvas& canvas, const std::string& text, const FontStyle& font, double width) {
  std::vector<size_t> ends;
  for (size_t at = 0; at < text.size();) ends.push_back(at = next_character(text, at));
  auto fits = [&](size_t end) { return canvas.measure(text.substr(0, end), font).width <= width; };
  const auto beyond = std::partition_point(ends.begin(), ends.end(), fits);
  if (ends.empty()) return 0;
  return beyond == ends.begin() ? ends.front() : *(beyond - 1);
}

std::string shortened(const Canvas& canvas, const std::string& text, const FontStyle& font, double width) {
  if (canvas.measure(text, font).width <= width) return text;
  const std::string dots = "...";
  return text.substr(0, fitting_length(canvas, text, font, width - canvas.measure(dots, font).width)) + dots;
}

class Annotator {
 public:
  explicit Annotator(const Image& image)
      : canvas_(image), height_(static_cast<double>(image.height)), width_(static_cast<double>(image.width)) {
    const double size = std::sqrt(height_ * width_);
    line_ = std::max(2.0, std::round(size * 0.0035));
    font_.size_px = std::max(9.0, size * 0.022);
    font_.bold = true;
  }

  void draw_mask(const Annotation& annotation, const Colour& colour) {
    if (!annotation.mask.empty()) canvas_.blend_mask(annotation.mask, faded(colour, 0.45));
  }

  // Returns what the label is put at.
  Rectangle draw_shape(const Annotation& annotation, const Colour& colour) {
    const Colour rim = faded(on_top_of(colour), 0.75);
    const double rim_width = line_ + std::max(1.0, std::round(line_ * 0.4)) * 2;
    if (!annotation.polygon.empty()) return draw_polygon(annotation.polygon, colour, rim, rim_width);
    const auto& box = annotation.box_xyxy;
    if (!std::all_of(box.begin(), box.end(), [](double value) { return std::isfinite(value); })) return {};
    // Half a line inside, so that boxes along the border are seen whole; on whole pixels, so that lines are
    // sharp.
    auto place = [this](double value, double side) {
      const double inset = std::min(line_ * 0.5 + 1, side * 0.5), half = std::fmod(line_, 2) * 0.5;
      return std::round(std::clamp(value, inset, side - inset) - half) + half;
    };
    const double left = place(std::min(box[0], box[2]), width_),
                 right = place(std::max(box[0], box[2]), width_);
    const double top = place(std::min(box[1], box[3]), height_),
                 bottom = place(std::max(box[1], box[3]), height_);
    const bool only_mask = !annotation.mask.empty() && box == std::array<double, 4>{};
    if (only_mask) return mask_bounds(annotation.mask);
    canvas_.stroke_rectangle(left, top, right - left, bottom - top, rim, rim_width);
    canvas_.stroke_rectangle(left, top, right - left, bottom - top, colour, line_);
    return {left - line_ * 0.5, top - line_ * 0.5, right - left + line_, bottom - top + line_};
  }

  void draw_label(const std::string& label, const Rectangle& at, const Colour& colour) {
    FontStyle font = font_;
    const double margin = font.size_px * 0.25;
    const double room = width_ - 2 * margin;
    const double wanted = canvas_.measure(label, font).width;
    if (wanted > room) font.size_px = std::max({8.0, font.size_px * 0.6, font.size_px * room / wanted});
    const std::string text = shortened(canvas_, label, font, room);
    const Canvas::Extent extent = canvas_.measure(text, font);
    const Rectangle where =
        free_place(at, std::min(width_, extent.width + 2 * margin), extent.height + margin);
    labels_.push_back(where);
    canvas_.fill_rectangle(where.x, where.y, where.width, where.height, faded(colour, 0.92));
    canvas_.text({where.x + margin, where.y + margin * 0.5 + extent.ascent}, text, font, on_top_of(colour));
  }

  Image image() const { return canvas_.image(); }

 private:
  Rectangle draw_polygon(std::vector<Point> corners, const Colour& colour, const Colour& rim,
                         double rim_width) {
    std::erase_if(corners, [](const Point& p) { return !std::isfinite(p.x) || !std::isfinite(p.y); });
    if (corners.empty()) return {};
    for (Point& corner : corners) {
      corner = {std::clamp(corner.x, -width_, 2 * width_), std::clamp(corner.y, -height_, 2 * height_)};
    }
    if (corners.size() == 1) {  // a place, not an area
      const double radius = line_ * 2.5;
      canvas_.fill_ellipse(corners[0], radius + line_, radius + line_, 0, rim);
      canvas_.fill_ellipse(corners[0], radius, radius, 0, colour);
      return {corners[0].x - radius, corners[0].y - radius, 2 * radius, 2 * radius};
    }
    canvas_.fill_polygon(corners, faded(colour, 0.25));
    canvas_.stroke_polygon(corners, rim, rim_width);
    canvas_.stroke_polygon(corners, colour, line_);
    Point low = corners[0], high = corners[0];
    for (const Point& corner : corners) {
      low = {std::min(low.x, corner.x), std::min(low.y, corner.y)};
      high = {std::max(high.x, corner.x), std::max(high.y, corner.y)};
    }
    return {low.x, low.y, high.x - low.x, high.y - low.y};
  }

  Rectangle mask_bounds(const std::vector<uint8_t>& mask) const {
    const auto width = static_cast<int64_t>(width_), height = static_cast<int64_t>(height_);
    int64_t left = width, right = -1, top = height, bottom = -1;
    for (int64_t y = 0; y < height; ++y) {
      const auto row = mask.begin() + y * width;
      const auto first = std::find_if(row, row + width, [](uint8_t value) { return value != 0; });
      if (first == row + width) continue;
      top = std::min(top, y);
      bottom = y;
      left = std::min<int64_t>(left, first - row);
      int64_t last = width - 1;
      while (row[last] == 0) --last;
      right = std::max(right, last);
    }
    if (right < 0) return {};
    return {static_cast<double>(left), static_cast<double>(top), static_cast<double>(right - left + 1),
            static_cast<double>(bottom - top + 1)};
  }

  // Above the shape, then in its corners, below it, and further down its left side: the first place that no
  // other label has, or the one that covers least of them. Always inside the picture.
  Rectangle free_place(const Rectangle& at, double width, double height) const {
    std::vector<Point> corners = {{at.x, at.y - height},
                                  {at.x, at.y},
                                  {at.x, at.y + at.height},
                                  {at.x + at.width - width, at.y - height},
                                  {at.x + at.width - width, at.y + at.height},
                                  {at.x, at.y + at.height - height},
                                  {at.x + at.width, at.y}};
    for (int step = 1; step <= 8; ++step) corners.push_back({at.x, at.y + step * height});
    for (int step = 2; step <= 8; ++step) corners.push_back({at.x, at.y - step * height});
    Rectangle best;
    double least = -1;
    for (const Point& corner : corners) {
      Rectangle place{std::clamp(corner.x, 0.0, std::max(0.0, width_ - width)),
                      std::clamp(corner.y, 0.0, std::max(0.0, height_ - height)), width, height};
      double covered = 0;
      for (const Rectangle& label : labels_) covered += overlap(place, label);
      const double moved = std::abs(place.x - corner.x) + std::abs(place.y - corner.y);
      if (covered == 0 && moved < 1e-6) return place;
      const double cost = covered + moved * height * 0.01;
      if (least < 0 || cost < least) {
        least = cost;
        best = place;
      }
    }
    return best;
  }

  Canvas canvas_;
  double height_, width_;
  double line_;
  FontStyle font_;
  std::vector<Rectangle> labels_;
};

std::vector<std::string> wrap(const Canvas& canvas, const std::string& text, const FontStyle& font,
                              double width) {
  std::vector<std::string> lines = {""};
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '\n') {
      lines.emplace_back();
      ++at;
      continue;
    }
    const size_t end = std::min(text.find_first_of(" \n", at + 1), text.size());
    std::string word = text.substr(at, end - at);  // with the space before it
    at = end;
    if (canvas.measure(lines.back() + word, font).width <= width) {
      lines.back() += word;
      continue;
    }
    if (!lines.back().empty()) lines.emplace_back();
    if (word.front() == ' ') word.erase(0, 1);
    while (canvas.measure(word, font).width > width) {  // a word wider than the picture is cut
      const size_t length = fitting_length(canvas, word, font, width);
      if (length == word.size()) break;
      lines.back() = word.substr(0, length);
      word.erase(0, length);
      lines.emplace_back();
    }
    lines.back() = word;
  }
  return lines;
}

// A polygon without a label is a further part of what stands before it, and has its colour.
std::vector<size_t> objects_of(const std::vector<Annotation>& annotations) {
  std::vector<size_t> objects;
  for (const Annotation& annotation : annotations) {
    bool is_part = !annotation.polygon.empty() && annotation.label.empty() && !objects.empty();
    objects.push_back(objects.empty() ? 0 : objects.back() + (is_part ? 0 : 1));
  }
  return objects;
}

}  // namespace

Image annotate(const Image& image, const std::vector<Annotation>& annotations) {
  Annotator annotator(image);
  std::vector<size_t> objects = objects_of(annotations);
  auto colour = [&](size_t i) { return cycle[objects[i] % cycle.size()]; };
  for (size_t i = 0; i < annotations.size(); ++i) annotator.draw_mask(annotations[i], colour(i));
  std::vector<Rectangle> places;
  for (size_t i = 0; i < annotations.size(); ++i)
    places.push_back(annotator.draw_shape(annotations[i], colour(i)));
  for (size_t i = 0; i < annotations.size(); ++i) {
    if (!annotations[i].label.empty()) annotator.draw_label(annotations[i].label, places[i], colour(i));
  }
  return annotator.image();
}

Image with_caption(const Image& image, const std::string& caption) {
  const double size = std::sqrt(static_cast<double>(image.height * image.width));
  const FontStyle font{.size_px = std::max(10.0, size * 0.026)};
  const double margin = font.size_px * 0.6, step = font.size_px * line_spacing;
  const Canvas ruler(1, 1, {});
  std::vector<std::string> lines =
      wrap(ruler, caption, font, std::max(1.0, static_cast<double>(image.width) - 2 * margin));
  const double room = static_cast<double>(longest_side - std::min(longest_side, image.height)) - 2 * margin;
  const auto most = static_cast<size_t>(std::max(1.0, room / step));
  if (lines.size() > most) {
    lines.resize(most);
    lines.back() = "...";
  }
  const auto band = static_cast<int64_t>(std::ceil(2 * margin + step * static_cast<double>(lines.size())));
  Canvas canvas(pad(image, image.height + band, image.width, 0, 0, {250, 250, 250}));
  const double ascent = ruler.measure("x", font).ascent;
  double y = static_cast<double>(image.height) + margin + ascent;
  for (const std::string& line : lines) {
    canvas.text({margin, y}, line, font, {0.1, 0.1, 0.1});
    y += step;
  }
  return canvas.image();
}

}  // namespace vlm
