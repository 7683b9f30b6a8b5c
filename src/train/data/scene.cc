#include "train/data/scene.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace vlm::data {
namespace {

constexpr double pi = std::numbers::pi;

// Radii that people would call small, medium and large; between them lies a margin without a name.
constexpr std::array<std::array<double, 2>, num_sizes> size_ranges = {
    {{0.072, 0.098}, {0.135, 0.17}, {0.225, 0.29}}};

std::optional<Size> size_of(double radius) {
  for (int64_t i = 0; i < num_sizes; ++i) {
    auto [low, high] = size_ranges[static_cast<size_t>(i)];
    if (radius >= low && radius <= high) return static_cast<Size>(i);
  }
  return std::nullopt;
}

struct Disc {
  double x, y, radius;
};

class Sampler {
 public:
  Sampler(uint64_t seed, const SceneOptions& options) : rng_(seed), options_(options) {
    scene_.seed = rng_.next();
  }

  Scene run() {
    plain_ = rng_.chance(options_.plain_share);
    double content = rng_.uniform();
    bool emoji = content < options_.emoji_share && has_emoji_font();
    bool text = !emoji && content < options_.emoji_share + options_.text_share;
    if (emoji) {
      sample_pictures();
    } else {
      if (text) sample_texts();
      sample_objects(text);
    }
    sample_background();
    for (Object& object : scene_.objects) sample_style(object);
    for (Text& text_item : scene_.texts) sample_text_colours(text_item);
    sample_effects();
    return std::move(scene_);
  }

 private:
  double margin(double radius) { return radius + 0.012; }

  bool place(double radius, double& x, double& y) {
    for (int attempt = 0; attempt < 60; ++attempt) {
      if (on_grid_) {  // the middles of the nine fields, a little off
        constexpr std::array<double, 3> middles = {0.2, 0.5, 0.8};
        x = rng_.pick(middles) + rng_.uniform(-0.05, 0.05);
        y = rng_.pick(middles) + rng_.uniform(-0.05, 0.05);
        x = std::clamp(x, margin(radius), 1 - margin(radius));
        y = std::clamp(y, margin(radius), 1 - margin(radius));
      } else {
        x = rng_.uniform(margin(radius), 1 - margin(radius));
        y = rng_.uniform(margin(radius), 1 - margin(radius));
      }
      bool free = std::all_of(taken_.begin(), taken_.end(), [&](const Disc& disc) {
        return std::hypot(disc.x - x, disc.y - y) > nearness_ * (disc.radius + radius) + 0.01;
      });
      if (!free) continue;
      taken_.push_back({x, y, radius});
      return true;
    }
    return false;
  }

  // Few kinds in a scene make high counts and hard comparisons; many make everything unique.
  template <typename T>
  std::vector<T> pool(int64_t of, int64_t size) {
    std::vector<T> all;
    for (int64_t i = 0; i < of; ++i) all.push_back(static_cast<T>(i));
    rng_.shuffle(all);
    all.resize(static_cast<size_t>(std::min(of, size)));
    return all;
  }

  void sample_objects(bool beside_text) {
    int64_t most = std::max<int64_t>(1, options_.max_objects);
    int64_t count = beside_text ? rng_.between(0, std::min<int64_t>(2, most)) : rng_.between(1, most);
    if (!beside_text && count <= 2 && rng_.chance(0.3)) count = rng_.between(1, most);
    on_grid_ = rng_.chance(0.4);
    if (!beside_text && rng_.chance(0.12)) nearness_ = 0.78;  // some overlap a little
    constexpr std::array<int64_t, 5> pool_sizes = {1, 2, 3, 14, 14};
    std::vector<Shape> shapes = pool<Shape>(num_shapes, rng_.pick(pool_sizes));
    std::vector<Hue> hues = pool<Hue>(num_hues, rng_.pick(pool_sizes));
    bool free_sizes = rng_.chance(0.33);
    std::optional<double> same_radius;
    if (rng_.chance(0.15)) same_radius = rng_.uniform(0.09, count <= 4 ? 0.17 : 0.13);

    std::vector<double> radii;
    double area_left = 0.62;
    for (int64_t i = 0; i < count; ++i) {
      double radius = 0;
      if (same_radius) {
        radius = *same_radius;
      } else if (free_sizes) {
        radius = std::exp(rng_.uniform(std::log(0.075), std::log(count <= 2 ? 0.42 : 0.28)));
      } else {
        auto [low, high] = size_ranges[static_cast<size_t>(rng_.below(num_sizes))];
        radius = rng_.uniform(low, high);
      }
      // What is left for the others must hold a small shape each.
      double widest = std::sqrt(std::max(0.0, area_left - 0.045 * static_cast<double>(count - 1 - i)) / pi);
      if (radius > widest || (beside_text && radius > 0.17)) {
        auto [low, high] = size_ranges[beside_text || widest > 0.17 ? 1 : 0];
        radius = rng_.uniform(low, high);
      }
      area_left -= pi * radius * radius;
      radii.push_back(radius);
    }
    std::sort(radii.rbegin(), radii.rend());
    for (double radius : radii) {
      Object object;
      object.shape = rng_.pick(shapes);
      object.hue = rng_.pick(hues);
      // Pentagons, hexagons and thin crescents cannot be told apart on a few pixels.
      object.radius =
          object.shape == Shape::hexagon || object.shape == Shape::pentagon ? std::max(radius, 0.08) : radius;
      bool found = place(object.radius, object.x, object.y);
      if (!found && object.radius > 0.098 && !same_radius) {
        object.radius = rng_.uniform(size_ranges[0][0], size_ranges[0][1]);
        found = place(object.radius, object.x, object.y);
      }
      if (!found) continue;
      object.size = size_of(object.radius);
      sample_geometry(object);
      scene_.objects.push_back(object);
    }
    rng_.shuffle(scene_.objects);  // no meaning in the order
    if (scene_.objects.empty() && scene_.texts.empty()) {
      Object object;
      object.radius = 0.15;
      object.x = object.y = 0.5;
      object.size = Size::medium;
      sample_geometry(object);
      scene_.objects.push_back(object);
    }
  }

  void sample_geometry(Object& object) {
    auto tilt = [&](double degrees) { return rng_.uniform(-degrees, degrees) * pi / 180; };
    bool upright = rng_.chance(plain_ ? 0.85 : 0.35);
    double quarter = pi / 2 * static_cast<double>(rng_.below(4));
    object.rotation = upright ? 0 : tilt(15);
    switch (object.shape) {
      case Shape::square:
        if (!upright) object.rotation = tilt(14);
        break;
      case Shape::triangle:
        object.stretch = rng_.chance(0.6) ? 1 : rng_.uniform(0.8, 1.25);
        object.detail =
            rng_.chance(0.12) ? (rng_.chance(0.5) ? -1 : 1) : 0;  // where the tip is: right angles
        if (rng_.chance(0.15)) object.rotation += pi;
        if (!upright) object.rotation = tilt(30) + (rng_.chance(0.3) ? pi : 0);
        break;
      case Shape::rectangle:
        object.stretch = rng_.uniform(0.42, 0.65);
        if (rng_.chance(0.35)) object.rotation += pi / 2;
        break;
      case Shape::oval:
        object.stretch = rng_.uniform(0.45, 0.68);
        if (rng_.chance(0.35)) object.rotation += pi / 2;
        if (!upright) object.rotation = rng_.uniform(0, pi);
        break;
      case Shape::diamond:
        object.stretch = rng_.chance(0.5) ? 1 : rng_.uniform(0.6, 0.9);
        object.rotation = upright ? 0 : tilt(7);
        if (rng_.chance(0.25)) object.rotation += pi / 2;
        break;
      case Shape::star:
        object.detail = rng_.uniform(0.36, 0.52);
        if (!upright) object.rotation = rng_.uniform(0, 2 * pi);
        break;
      case Shape::pentagon:
        if (!upright) object.rotation = tilt(36);
        break;
      case Shape::hexagon:
        object.rotation = rng_.chance(0.5) ? pi / 6 : 0;
        if (!upright) object.rotation = tilt(30);
        break;
      case Shape::cross:
        object.detail = rng_.uniform(0.26, 0.4);
        break;
      case Shape::arrow:
        object.rotation += quarter;
        object.detail = rng_.uniform(0.2, 0.34);
        break;
      case Shape::crescent:
        object.detail = rng_.uniform(0.4, 0.6);
        object.rotation = (upright ? 0 : tilt(40)) + (rng_.chance(0.5) ? pi : 0);
        break;
      case Shape::ring:
        object.detail = rng_.uniform(0.25, 0.42);
        break;
      case Shape::circle:
      case Shape::heart:
        break;
    }
  }

  void sample_texts() {
    int64_t count = rng_.chance(0.2) ? 2 : 1;
    static const std::vector<std::string> families = {
        "DejaVu Sans",     "DejaVu Sans",     "DejaVu Serif",     "DejaVu Sans Mono",
        "Liberation Sans", "Liberation Sans", "Liberation Serif", "Liberation Mono",
        "FreeSans",        "FreeSerif",       "FreeMono",         "Liberation Sans Narrow"};
    for (int64_t i = 0; i < count; ++i) {
      Text text;
      text.text = sample_text(options_.split, rng_);
      if (count == 2 && i == 1 && text.text == scene_.texts[0].text) break;
      text.font.family = rng_.pick(families);
      text.font.bold = rng_.chance(text.font.family == "FreeMono" ? 0.9 : 0.55);
      text.font.italic = !plain_ && rng_.chance(0.15);
      text.rotation = plain_ || rng_.chance(0.6) ? 0 : rng_.uniform(-7, 7) * pi / 180;
      if (rng_.chance(plain_ ? 0.15 : 0.45)) text.panel_hue = static_cast<Hue>(rng_.below(num_hues));

      thread_local Canvas ruler(1, 1, Colour{});
      FontStyle unit = text.font;
      unit.size_px = 100;
      double em_width = std::max(0.2, ruler.measure(text.text, unit).width / 100);
      constexpr double capital = 0.72;  // height of capital letters in ems
      double most = 0.9 / em_width * capital;
      double height = rng_.uniform(0.12, text.text.size() <= 3 ? 0.34 : 0.24);
      text.height = std::min({height, most, count == 2 ? 0.2 : 0.4});
      text.font.size_px = text.height / capital;
      text.width = em_width * text.font.size_px;
      double half = text.width / 2 + 0.05;
      text.x = half >= 0.5 ? 0.5 : rng_.uniform(half, 1 - half);
      double room = text.height / 2 + 0.09;
      if (count == 2) {
        text.y = i == 0 ? rng_.uniform(room, 0.3) : rng_.uniform(0.7, 1 - room);
      } else {
        text.y = rng_.uniform(room, 1 - room);
      }
      scene_.texts.push_back(text);
      // Discs along the line keep shapes off the text.
      for (double at = -text.width / 2; at <= text.width / 2 + 0.01; at += 0.08) {
        taken_.push_back({text.x + at, text.y + at * std::sin(text.rotation), text.height / 2 + 0.06});
      }
    }
  }

  void sample_pictures() {
    int64_t count = rng_.chance(0.5) ? 1 : rng_.between(2, 3);
    std::vector<int64_t> kinds = pool<int64_t>(static_cast<int64_t>(emoji_table().size()), count);
    on_grid_ = rng_.chance(0.4);
    for (int64_t kind : kinds) {
      Picture picture;
      picture.emoji = kind;
      picture.radius = count == 1 ? rng_.uniform(0.22, 0.47) : rng_.uniform(0.19, 0.25);
      picture.rotation = rng_.chance(0.6) ? 0 : rng_.uniform(-14, 14) * pi / 180;
      if (place(picture.radius, picture.x, picture.y)) scene_.pictures.push_back(picture);
    }
  }

  bool uses(Hue hue) {
    auto object_has = [&](const Object& object) { return object.hue == hue; };
    auto text_has = [&](const Text& text) { return text.panel_hue == hue; };
    return std::any_of(scene_.objects.begin(), scene_.objects.end(), object_has) ||
           std::any_of(scene_.texts.begin(), scene_.texts.end(), text_has);
  }

  Hue free_hue() {
    while (true) {
      auto hue = static_cast<Hue>(rng_.below(num_hues));
      if (!uses(hue)) return hue;
    }
  }

  void sample_background() {
    Background& background = scene_.background;
    auto pale = [&](double lightest, double darkest) {
      double light = rng_.uniform(darkest, lightest);
      return Colour{light + rng_.uniform(-0.06, 0.04), light + rng_.uniform(-0.06, 0.04),
                    light + rng_.uniform(-0.06, 0.04), 1};
    };
    if (plain_ || rng_.chance(0.35)) {
      double kind = rng_.uniform();
      if (kind < 0.55 && !uses(Hue::white)) {
        background.hue = Hue::white;
      } else if (kind < 0.67 && !uses(Hue::black)) {
        background.hue = Hue::black;
      } else if (kind < 0.85) {
        background.hue = free_hue();
      }
      background.first = background.hue     ? sample_colour(*background.hue, plain_, rng_)
                         : uses(Hue::white) ? pale(0.86, 0.8)
                                            : pale(0.92, 0.8);
      return;
    }
    constexpr std::array<double, 6> weights = {0, 3, 2, 2, 2, 1};
    background.kind = static_cast<Backdrop>(rng_.weighted(weights));
    background.scale = rng_.uniform(0.06, 0.3);
    background.angle = rng_.uniform(0, pi);
    bool dark = !uses(Hue::black) && rng_.chance(0.3);
    bool coloured = !dark && rng_.chance(0.4);
    if (coloured) {
      Hue hue = free_hue();
      background.first = sample_colour(hue, false, rng_);
      background.second = sample_colour(hue, false, rng_);
    } else if (dark) {
      background.first = pale(0.1, 0.04);
      background.second = pale(0.27, 0.08);
    } else {
      background.first = pale(uses(Hue::white) ? 0.84 : 0.97, 0.78);
      background.second = pale(uses(Hue::white) ? 0.84 : 0.97, 0.75);
    }
  }

  bool stands_out(const Colour& colour, double least) {
    return colour_distance(colour, scene_.background.first) > least &&
           (scene_.background.kind == Backdrop::plain ||
            colour_distance(colour, scene_.background.second) > least);
  }

  Colour visible_colour(Hue hue) {
    Colour best = sample_colour(hue, plain_, rng_);
    for (int attempt = 0; attempt < 20 && !stands_out(best, 0.45); ++attempt) {
      best = sample_colour(hue, plain_, rng_);
    }
    return best;
  }

  void sample_style(Object& object) {
    object.colour = visible_colour(object.hue);
    if (!scene_style_) {
      scene_style_ = SceneStyle{rng_.chance(plain_ ? 0.35 : 0.3), rng_.uniform(0.008, 0.028),
                                rng_.chance(0.12), rng_.chance(0.15)};
    }
    bool faint = !stands_out(object.colour, 0.36);
    bool outlined = scene_style_->outlined || (!plain_ && rng_.chance(0.15));
    if (outlined || faint) {
      bool light = object.colour.r + object.colour.g + object.colour.b < 0.5;
      double grey = light ? 0.85 : rng_.uniform(0, 0.12);
      object.outline = Colour{grey, grey, grey, 1};
      object.outline_width = std::min(scene_style_->outline_width, 0.16 * object.radius);
      if (object.shape == Shape::ring) {  // both edges have one: leave most of the band in its colour
        object.detail = std::max(object.detail, 0.34);
        object.outline_width = std::min(object.outline_width, 0.2 * object.detail * object.radius);
      }
    }
    bool can_be_hollow = object.shape != Shape::circle && object.shape != Shape::oval &&
                         object.shape != Shape::ring && object.shape != Shape::cross &&
                         object.shape != Shape::arrow && object.shape != Shape::crescent;
    if (scene_style_->hollow && can_be_hollow && stands_out(object.colour, 0.5) && object.radius > 0.09) {
      object.texture = Texture::hollow;
      object.outline.reset();
      object.outline_width = std::max(0.026, rng_.uniform(0.14, 0.26) * object.radius);
    } else if (!plain_ && rng_.chance(0.45)) {
      constexpr std::array<double, 5> weights = {0, 3, 2, 2, 1};
      object.texture = static_cast<Texture>(rng_.weighted(weights));
    }
    object.shadow = !plain_ && scene_style_->shadows;
  }

  void sample_text_colours(Text& text) {
    Colour behind = scene_.background.first;
    if (text.panel_hue) {
      text.panel = sample_colour(*text.panel_hue, plain_, rng_);
      behind = text.panel;
      bool faint = !stands_out(text.panel, 0.3);
      if (faint || rng_.chance(0.4)) {
        double grey = behind.r + behind.g + behind.b < 1.2 ? 1 : 0;
        text.panel_outline = Colour{grey, grey, grey, 1};
      }
    }
    for (int attempt = 0; attempt < 200; ++attempt) {
      text.hue = rng_.chance(0.4) ? (rng_.chance(0.6) ? Hue::black : Hue::white)
                                  : static_cast<Hue>(rng_.below(num_hues));
      text.colour = sample_colour(text.hue, plain_, rng_);
      auto luma = [](const Colour& c) { return 0.3 * c.r + 0.59 * c.g + 0.11 * c.b; };
      bool contrast = std::abs(luma(text.colour) - luma(behind)) > 0.35;
      if (!text.panel_hue && scene_.background.kind != Backdrop::plain) {
        contrast &= std::abs(luma(text.colour) - luma(scene_.background.second)) > 0.35;
      }
      if (contrast) return;
    }
    // No colour stands out from both colours of a mixed background: put the text on a sign.
    text.panel_hue = Hue::white;
    text.panel = {1, 1, 1, 1};
    text.panel_outline = Colour{0, 0, 0, 1};
    text.hue = Hue::black;
    text.colour = {0, 0, 0, 1};
  }

  void sample_effects() {
    Effects& effects = scene_.effects;
    if (plain_) {
      effects.aliased = rng_.chance(0.2);
      if (effects.aliased || rng_.chance(0.3)) effects.oversampling = 2;
      if (rng_.chance(0.1)) effects.jpeg_quality = rng_.between(50, 95);
      return;
    }
    if (rng_.chance(0.2)) effects.oversampling = 2;
    if (rng_.chance(0.25)) effects.jpeg_quality = rng_.between(35, 95);
    if (rng_.chance(0.2)) effects.blur = rng_.uniform(0.1, 0.5);
    if (rng_.chance(0.35)) {
      effects.brightness = rng_.uniform(0.88, 1.08);
      effects.contrast = rng_.uniform(0.88, 1.1);
    }
    if (rng_.chance(0.2)) effects.grain = rng_.uniform(1, 8);
  }

  struct SceneStyle {
    bool outlined;
    double outline_width;
    bool hollow, shadows;
  };

  Rng rng_;
  SceneOptions options_;
  Scene scene_;
  bool plain_ = false;
  bool on_grid_ = false;
  double nearness_ = 0.96;  // of two objects, by the sum of their radii
  std::vector<Disc> taken_;
  std::optional<SceneStyle> scene_style_;
};

}  // namespace

Scene sample_scene(uint64_t seed, const SceneOptions& options) {
  return Sampler(seed, options).run();
}

}  // namespace vlm::data
