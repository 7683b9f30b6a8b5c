#include "train/drills.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <set>

#include "train/data/matching.h"

namespace vlm {

namespace {

using data::Descriptor;
using data::Look;
using data::Match;
using data::Object;
using data::Picture;
using data::Place;
using data::Rng;
using data::Scene;
using data::Thing;
using data::Turn;

constexpr size_t kMostFound = 4;  // longer lists are not asked for
constexpr char kNothing[] = "no";
constexpr double kComparisons = 0.5;

void append(std::string& text, const std::string& word) {
  if (!word.empty()) text += (text.empty() ? "" : " ") + word;
}

// The answer to an exercise, thing by thing.
class Finding {
 public:
  void add(const std::string& name, const Thing& thing) {
    if (!answer_.empty()) answer_ += ", ";
    looks_.push_back(
        {.in_answer = true, .begin = answer_.size(), .end = answer_.size() + name.size(), .things = {thing}});
    answer_ += name;
    things_.push_back(thing);
  }
  Turn turn(const std::string& wanted) const {
    Turn turn{"find " + wanted, things_.empty() ? kNothing : answer_, "find", looks_};
    turn.looks.push_back({.begin = 0, .end = turn.question.size(), .things = things_});
    if (things_.empty()) turn.looks.push_back({.in_answer = true, .begin = 0, .end = turn.answer.size()});
    return turn;
  }

 private:
  std::string answer_;
  std::vector<Thing> things_;
  std::vector<Look> looks_;
};

std::string name_of(const Descriptor& wanted) {
  std::string text;
  if (wanted.size) append(text, data::name(*wanted.size));
  if (wanted.hue) append(text, data::name(*wanted.hue));
  if (wanted.shape) append(text, data::name(*wanted.shape));
  if (wanted.place) append(text, data::name(*wanted.place));
  return text;
}

std::string name_of(const Object& object) {
  return name_of({.size = object.size,
                  .hue = object.hue,
                  .shape = object.shape,
                  .place = data::place_of(object.x, object.y)});
}

std::string name_of(const Picture& picture) {
  std::string text = data::emoji_table()[static_cast<size_t>(picture.emoji)].name;
  if (std::optional<Place> place = data::place_of(picture.x, picture.y)) append(text, data::name(*place));
  return text;
}

// Some of an object's properties.
Descriptor part_of(const Object& object, Rng& rng) {
  constexpr std::array<double, 7> forms = {2, 2, 1, 3, 1, 1, 1.5};
  Descriptor wanted;
  int64_t form = rng.weighted(forms);
  if (form == 0 || form == 3 || form == 4) wanted.hue = object.hue;
  if (form == 1 || form == 3 || form == 5) wanted.shape = object.shape;
  if (form == 2 || form == 4 || form == 5) wanted.size = object.size;
  if (form == 6) wanted.place = data::place_of(object.x, object.y);
  return wanted;
}

// Another value for one of them, mostly one that the scene has elsewhere.
void change(Descriptor& wanted, const Object& other, Rng& rng) {
  bool elsewhere = rng.chance(0.6);
  if (wanted.hue && (!wanted.shape || rng.chance(0.5)))
    wanted.hue = elsewhere ? other.hue : static_cast<data::Hue>(rng.below(data::num_hues));
  else if (wanted.shape)
    wanted.shape = elsewhere ? other.shape : static_cast<data::Shape>(rng.below(data::num_shapes));
  else if (wanted.size)
    wanted.size = static_cast<data::Size>(rng.below(data::num_sizes));
  else if (wanted.place)
    wanted.place = static_cast<Place>(rng.below(data::num_places));
}

std::optional<Turn> find_objects(const Scene& scene, Rng& rng) {
  const Object& object = rng.pick(scene.objects);
  Descriptor wanted = part_of(object, rng);
  if (rng.chance(0.35)) change(wanted, rng.pick(scene.objects), rng);
  std::string name = name_of(wanted);
  data::Matcher matcher(scene);
  std::optional<int64_t> count = matcher.count(wanted);
  if (name.empty() || !count || *count > static_cast<int64_t>(kMostFound)) return std::nullopt;
  std::vector<const Object*> found;
  for (const Object& candidate : scene.objects)
    if (matcher.match(wanted, candidate) == Match::yes) found.push_back(&candidate);
  std::sort(found.begin(), found.end(), [](auto* a, auto* b) { return a->x < b->x; });
  Finding finding;
  for (const Object* each : found)
    finding.add(name_of(*each), {Thing::Kind::object, each - scene.objects.data()});
  return finding.turn(name);
}

// What an object has and no other.
std::optional<Descriptor> own_part_of(const Object& object, const data::Matcher& matcher, Rng& rng) {
  for (int attempt = 0; attempt < 6; ++attempt) {
    Descriptor part = part_of(object, rng);
    if (!name_of(part).empty() && matcher.is_unique(part)) return part;
  }
  return std::nullopt;
}

std::optional<Turn> compare_objects(const Scene& scene, Rng& rng) {
  constexpr double kClearly = 0.12;
  auto count = static_cast<int64_t>(scene.objects.size());
  int64_t first = rng.below(count), second = rng.below(count);
  // Two things with something in common are rare, and more is to be learnt from them.
  auto has_common = [&] {
    const Object &a = scene.objects[static_cast<size_t>(first)],
                 &b = scene.objects[static_cast<size_t>(second)];
    return first != second && (a.hue == b.hue || a.shape == b.shape);
  };
  if (rng.chance(0.6))
    for (int attempt = 0; attempt < 8 && !has_common(); ++attempt) second = rng.below(count);
  if (first == second) return std::nullopt;
  const Object &a = scene.objects[static_cast<size_t>(first)],
               &b = scene.objects[static_cast<size_t>(second)];
  data::Matcher matcher(scene);
  std::optional<Descriptor> of_a = own_part_of(a, matcher, rng), of_b = own_part_of(b, matcher, rng);
  if (!of_a || !of_b) return std::nullopt;
  std::string question = "compare ", answer;
  std::vector<Look> looks;
  auto ask = [&](const Descriptor& part, int64_t index) {
    std::string name = name_of(part);
    looks.push_back({.begin = question.size(),
                     .end = question.size() + name.size(),
                     .things = {{Thing::Kind::object, index}}});
    question += name;
  };
  ask(*of_a, first);
  question += " with ";
  ask(*of_b, second);
  auto say = [&](const std::string& words) { answer += (answer.empty() ? "" : ", ") + words; };
  say(a.hue == b.hue ? "same color" : "other color");
  say(a.shape == b.shape ? "same shape" : "other shape");
  if (data::is_clearly_larger(a, b)) say("larger");
  if (data::is_clearly_larger(b, a)) say("smaller");
  if (std::abs(a.x - b.x) > kClearly) say(a.x < b.x ? "left" : "right");
  if (std::abs(a.y - b.y) > kClearly) say(a.y < b.y ? "above" : "below");
  for (bool is_second : {false, true})
    looks.push_back({.in_answer = true,
                     .begin = 0,
                     .end = answer.size(),
                     .things = {{Thing::Kind::object, is_second ? second : first}},
                     .is_second = is_second});
  return Turn{question, answer, "compare", looks};
}

std::optional<Turn> find_pictures(const Scene& scene, Rng& rng) {
  const Picture& picture = rng.pick(scene.pictures);
  std::string wanted;
  Finding finding;
  auto add = [&](const Picture& each) {
    finding.add(name_of(each), {Thing::Kind::picture, &each - scene.pictures.data()});
  };
  if (rng.chance(0.5)) {
    int64_t emoji =
        rng.chance(0.6) ? picture.emoji : rng.below(static_cast<int64_t>(data::emoji_table().size()));
    wanted = data::emoji_table()[static_cast<size_t>(emoji)].name;
    for (const Picture& each : scene.pictures)
      if (each.emoji == emoji) add(each);
  } else {
    std::optional<Place> place = data::place_of(picture.x, picture.y);
    if (!place) return std::nullopt;
    wanted = data::name(*place);
    for (const Picture& each : scene.pictures) {
      std::optional<Place> other = data::place_of(each.x, each.y);
      if (!other) return std::nullopt;
      if (other == place) add(each);
    }
  }
  return finding.turn(wanted);
}

}  // namespace

std::vector<Turn> drill(const Scene& scene, Rng& rng, int64_t count) {
  std::vector<Turn> turns;
  std::set<std::string> asked;
  for (int64_t attempt = 0; attempt < 4 * count && static_cast<int64_t>(turns.size()) < count; ++attempt) {
    std::optional<Turn> turn;
    if (scene.objects.size() > 1 && rng.chance(kComparisons))
      turn = compare_objects(scene, rng);
    else if (!scene.objects.empty())
      turn = find_objects(scene, rng);
    else if (!scene.pictures.empty())
      turn = find_pictures(scene, rng);
    if (turn && asked.insert(turn->question).second) turns.push_back(*turn);
  }
  return turns;
}

}  // namespace vlm
