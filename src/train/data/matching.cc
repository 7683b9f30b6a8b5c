#include "train/data/matching.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace vlm::data {
namespace {

Match all_of(Match a, Match b) {
  return std::min(a, b);
}
Match certain(bool statement) {
  return statement ? Match::yes : Match::no;
}

constexpr double low = 0.35, high = 0.65, middle_low = 0.42, middle_high = 0.58;

std::optional<int> third(double value) {
  if (value < low) return 0;
  if (value > high) return 2;
  if (value > middle_low && value < middle_high) return 1;
  return std::nullopt;
}

}  // namespace

std::string Descriptor::key() const {
  auto part = [](const auto& value) { return value ? std::to_string(static_cast<int>(*value)) : "-"; };
  return part(size) + "," + part(hue) + "," + part(shape) + "," + part(place) + "," + part(side);
}

std::optional<Place> place_of(double x, double y) {
  std::optional<int> column = third(x), row = third(y);
  if (!column || !row) return std::nullopt;
  return static_cast<Place>(*row * 3 + *column);
}

bool is_at(Side side, double x, double y) {
  switch (side) {
    case Side::left:
      return x < 0.42;
    case Side::right:
      return x > 0.58;
    case Side::top:
      return y < 0.42;
    case Side::bottom:
      return y > 0.58;
  }
  return false;
}

bool is_clearly_off(Side side, double x, double y) {
  switch (side) {
    case Side::left:
      return x > 0.58;
    case Side::right:
      return x < 0.42;
    case Side::top:
      return y > 0.58;
    case Side::bottom:
      return y < 0.42;
  }
  return false;
}

bool is_clearly_larger(const Object& a, const Object& b) {
  return a.radius > 1.3 * b.radius && area_of(a) > 1.4 * area_of(b);
}

Matcher::Matcher(const Scene& scene) : scene_(scene) {
  for (const Text& text : scene.texts) {
    if (!text.panel_hue) continue;
    Object panel;
    panel.shape = Shape::rectangle;
    panel.hue = *text.panel_hue;
    panel.x = text.x;
    panel.y = text.y;
    panels_.push_back(panel);
  }
}

Match Matcher::match(const Descriptor& descriptor, const Object& object) const {
  Match result = Match::yes;
  if (descriptor.shape) {
    Match shape = certain(*descriptor.shape == object.shape);
    if (*descriptor.shape == Shape::rectangle && object.shape == Shape::square) shape = Match::maybe;
    if (*descriptor.shape == Shape::square && object.shape == Shape::diamond && object.stretch > 0.95) {
      shape = Match::maybe;
    }
    result = all_of(result, shape);
  }
  if (descriptor.hue) result = all_of(result, certain(*descriptor.hue == object.hue));
  if (descriptor.size) {
    result = all_of(result, object.size ? certain(*descriptor.size == *object.size) : Match::maybe);
  }
  if (descriptor.place) {
    std::optional<Place> place = place_of(object.x, object.y);
    result = all_of(result, place ? certain(*place == *descriptor.place) : Match::maybe);
  }
  if (descriptor.side) {
    result = all_of(result, is_at(*descriptor.side, object.x, object.y)            ? Match::yes
                            : is_clearly_off(*descriptor.side, object.x, object.y) ? Match::no
                                                                                   : Match::maybe);
  }
  return result;
}

std::optional<int64_t> Matcher::count(const Descriptor& descriptor) const {
  int64_t found = 0;
  for (const Object& object : scene_.objects) {
    Match matches = match(descriptor, object);
    if (matches == Match::maybe) return std::nullopt;
    found += matches == Match::yes;
  }
  for (const Object& panel : panels_) {
    if (descriptor.shape && *descriptor.shape != Shape::rectangle && *descriptor.shape != Shape::square)
      continue;
    if (descriptor.hue && *descriptor.hue != panel.hue) continue;
    return std::nullopt;
  }
  // Whether letters are "a red thing" is for philosophers.
  for (const Text& text : scene_.texts) {
    if (!descriptor.shape && descriptor.hue == text.hue) return std::nullopt;
  }
  return found;
}

std::optional<int64_t> Matcher::extreme(Extreme extreme) const {
  const std::vector<Object>& objects = scene_.objects;
  if (objects.size() < 2 || has_panel() || !scene_.texts.empty()) return std::nullopt;
  auto further = [&](const Object& a, const Object& b) {
    constexpr double margin = 0.08;
    switch (extreme) {
      case Extreme::leftmost:
        return a.x < b.x - margin;
      case Extreme::rightmost:
        return a.x > b.x + margin;
      case Extreme::topmost:
        return a.y < b.y - margin;
      case Extreme::bottommost:
        return a.y > b.y + margin;
      case Extreme::largest:
        return is_clearly_larger(a, b);
      case Extreme::smallest:
        return is_clearly_larger(b, a);
    }
    return false;
  };
  for (size_t i = 0; i < objects.size(); ++i) {
    bool furthest = true;
    for (size_t other = 0; other < objects.size(); ++other) {
      furthest &= other == i || further(objects[i], objects[other]);
    }
    if (furthest) return static_cast<int64_t>(i);
  }
  return std::nullopt;
}

}  // namespace vlm::data
