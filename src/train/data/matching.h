// What a phrase such as "the small red circle on the left" can mean in a scene.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/data/scene.h"

namespace vlm::data {

enum class Match { no, maybe, yes };
enum class Side { left, right, top, bottom };
enum class Extreme { leftmost, rightmost, topmost, bottommost, largest, smallest };

struct Descriptor {
  std::optional<Size> size = {};
  std::optional<Hue> hue = {};
  std::optional<Shape> shape = {};
  std::optional<Place> place = {};
  std::optional<Side> side = {};
  std::string key() const;  // equal for equal descriptors
};

std::optional<Place> place_of(double x, double y);  // absent near a border between two places
bool is_at(Side side, double x, double y);          // clearly
bool is_clearly_off(Side side, double x, double y);

class Matcher {
 public:
  explicit Matcher(const Scene& scene);

  Match match(const Descriptor& descriptor, const Object& object) const;
  // Absent when something only perhaps matches.
  std::optional<int64_t> count(const Descriptor& descriptor) const;
  bool is_unique(const Descriptor& descriptor) const { return count(descriptor) == 1; }
  // The object that clearly goes furthest.
  std::optional<int64_t> extreme(Extreme extreme) const;
  bool has_panel() const { return !panels_.empty(); }

 private:
  const Scene& scene_;
  std::vector<Object> panels_;  // signs behind texts look like rectangles
};

bool is_clearly_larger(const Object& a, const Object& b);

}  // namespace vlm::data
