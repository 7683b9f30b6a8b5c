#include "train/dense_scene.h"

#include <algorithm>
#include <cmath>

namespace vlm {

namespace {

using data::Rng;
using data::Scene;
using data::SceneOptions;

bool stands_out(const Colour& colour, const data::Background& background) {
  constexpr double kLeast = 0.4;
  return data::colour_distance(colour, background.first) > kLeast &&
         (background.kind == data::Backdrop::plain ||
          data::colour_distance(colour, background.second) > kLeast);
}

// The middle of a cell, a little off, so that a disc of this radius stays inside the cell.
double middle(int64_t cell, int64_t cells, double radius, Rng& rng) {
  double side = 1.0 / static_cast<double>(cells), room = std::max(0.0, side / 2 - radius);
  return (static_cast<double>(cell) + 0.5) * side + rng.uniform(-room, room);
}

Scene sample(Rng& rng, SceneOptions options, double text_share, double emoji_share) {
  options.text_share = text_share;
  options.emoji_share = emoji_share;
  return data::sample_scene(rng.next(), options);
}

// A grid of shapes, gathered from several scenes onto the first one's background.
Scene shapes(Rng& rng, const SceneOptions& options) {
  int64_t cells = rng.between(2, 4);
  Scene page = sample(rng, options, 0, 0);
  std::vector<data::Object> objects;
  for (int64_t attempt = 0; attempt < 12 && static_cast<int64_t>(objects.size()) < cells * cells; ++attempt)
    for (const data::Object& object : sample(rng, options, 0, 0).objects)
      if (stands_out(object.colour, page.background)) objects.push_back(object);
  page.objects.clear();
  for (int64_t at = 0; at < cells * cells && at < static_cast<int64_t>(objects.size()); ++at) {
    data::Object object = objects[static_cast<size_t>(at)];
    double widest = 0.48 / static_cast<double>(cells);
    if (object.radius > widest) {  // to what scenes call medium and small
      bool is_medium = widest > 0.14 && rng.chance(0.6);
      object.size = is_medium ? data::Size::medium : data::Size::small;
      object.radius = is_medium ? rng.uniform(0.135, std::min(0.17, widest)) : rng.uniform(0.075, 0.098);
    }
    object.x = middle(at % cells, cells, object.radius, rng);
    object.y = middle(at / cells, cells, object.radius, rng);
    page.objects.push_back(object);
  }
  return page;
}

// Lines of text from edge to edge.
Scene letters(Rng& rng, const SceneOptions& options) {
  Scene page = sample(rng, options, 1, 0);
  if (page.texts.empty()) return page;
  data::Text style = page.texts.front();
  page.objects.clear();
  page.texts.clear();
  thread_local Canvas ruler(1, 1, Colour{});
  double height = rng.chance(0.5) ? rng.uniform(0.11, 0.2) : rng.uniform(0.2, 0.36),
         line = height * rng.uniform(1.35, 1.7);
  style.panel_hue.reset();
  style.rotation *= 0.5;
  bool has_contrast = stands_out(style.colour, page.background);
  if (!has_contrast) style.hue = data::Hue::black, style.colour = {0, 0, 0, 1};
  if (!stands_out(style.colour, page.background)) style.hue = data::Hue::white, style.colour = {1, 1, 1, 1};
  FontStyle unit = style.font;
  unit.size_px = 100;
  constexpr double kCapital = 0.72;  // height of capital letters in ems
  for (double y = line / 2 + 0.01; y < 1 - line / 2; y += line) {
    data::Text text = style;
    text.height = height;
    text.font.size_px = height / kCapital;
    text.text.clear();
    for (int words = 0; words < 12; ++words) {
      std::string longer = text.text + (text.text.empty() ? "" : " ") + data::sample_text(options.split, rng);
      double width = ruler.measure(longer, unit).width / 100 * text.font.size_px;
      if (width > 0.96) break;
      text.text = longer;
      text.width = width;
    }
    if (text.text.empty()) continue;
    double half = text.width / 2 + 0.01;
    text.x = half < 0.5 ? rng.uniform(half, 1 - half) : 0.5;
    text.y = y;
    page.texts.push_back(text);
  }
  return page;
}

Scene emoji(Rng& rng, const SceneOptions& options) {
  Scene page = sample(rng, options, 0, 1);
  if (page.pictures.empty()) return page;  // no font for them
  page.pictures.clear();
  int64_t cells = rng.between(2, 3);
  for (int64_t at = 0; at < cells * cells; ++at) {
    data::Picture picture;
    picture.emoji = rng.below(static_cast<int64_t>(data::emoji_table().size()));
    double widest = 0.5 / static_cast<double>(cells);
    picture.radius = rng.uniform(0.8 * widest, widest);
    picture.rotation = rng.chance(0.6) ? 0 : rng.uniform(-14, 14) * 3.14159265 / 180;
    picture.x = middle(at % cells, cells, picture.radius, rng);
    picture.y = middle(at / cells, cells, picture.radius, rng);
    page.pictures.push_back(picture);
  }
  return page;
}

}  // namespace

Scene dense_scene(Rng& rng, const SceneOptions& options) {
  double kind = rng.uniform();
  if (kind < 0.25) return shapes(rng, options);
  return kind < 0.85 ? letters(rng, options) : emoji(rng, options);  // letters are the hardest
}

}  // namespace vlm
