// Statements to confirm or deny, choices between two, and other ways to ask.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <set>

#include "train/data/asker.h"

namespace vlm::data {
namespace {

constexpr std::array<const char*, 7> number_words = {"no", "one", "two", "three", "four", "five", "six"};

template <typename T>
T another(T value, int64_t count, Rng& rng) {
  int64_t shift = 1 + rng.below(count - 1);
  return static_cast<T>((static_cast<int64_t>(value) + shift) % count);
}

}  // namespace

std::optional<Draft> Asker::absent() {
  Descriptor descriptor;
  descriptor.shape = static_cast<Shape>(rng_.below(num_shapes));
  if (rng_.chance(0.4)) descriptor.hue = static_cast<Hue>(rng_.below(num_hues));
  if (matcher_.count(descriptor) != 0) return std::nullopt;
  std::string it = noun(descriptor, false, true);
  return make("existence", AnswerForm::word,
              descriptor.hue
                  ? "(Where is the {it}?|How (big|large) is the {it}?|What size is the {it}?|"
                    "(Tell me|Say) where the {it} is.)"
                  : "(What colo(u|)r is the {it}?|What is the colo(u|)r of the {it}?|Where is the {it}?|"
                    "How (big|large) is the {it}?|(Tell me|Name) the colo(u|)r of the {it}.)",
              {{"it", it}}, "There is no " + it + ".", "absent " + descriptor.key(),
              {{"it", {}}, {"", {}, false, false, 0, 5}});
}

std::optional<Draft> Asker::check_hue() {
  int64_t index = any_object();
  Hue own = scene_.objects[static_cast<size_t>(index)].hue;
  std::optional<Reference> it = refer(index, {.hue = false});
  if (!it) return std::nullopt;
  // Half of the wrong colours are those of other things in the picture.
  Hue wrong = scene_.objects[static_cast<size_t>(any_object())].hue;
  if (wrong == own || rng_.chance(0.5)) wrong = another(own, num_hues, rng_);
  if (rng_.chance(0.3)) {
    bool first = rng_.chance(0.5);
    return make(
        "colour", AnswerForm::word,
        "(Is {it} {x} or {y}?|Which colo(u|)r is {it}, {x} or {y}?|What colo(u|)r is {it}: {x} or {y}?)",
        {{"it", it->text}, {"x", name(first ? own : wrong)}, {"y", name(first ? wrong : own)}}, name(own),
        "hue choice " + it->key, sights_of("it", {object(index)}));
  }
  bool yes = rng_.chance(0.5);
  return make("colour", AnswerForm::yes_no,
              "(Is {it} {x}?|Is {it} {x}?|Is the colo(u|)r of {it} {x}?|Is it true that {it} is {x}?|"
              "Does {it} have the colo(u|)r {x}?|Would you say that {it} is {x}?)",
              {{"it", it->text}, {"x", spoken(yes ? own : wrong, rng_)}}, yes ? "yes" : "no",
              "hue check " + it->key, sights_of("it", {object(index)}));
}

std::optional<Draft> Asker::check_shape() {
  int64_t index = any_object();
  Shape own = scene_.objects[static_cast<size_t>(index)].shape;
  std::optional<Reference> it = refer(index, {.shape = false});
  if (!it) return std::nullopt;
  Shape wrong = scene_.objects[static_cast<size_t>(any_object())].shape;
  if (wrong == own || rng_.chance(0.5)) wrong = another(own, num_shapes, rng_);
  if (own == Shape::square && wrong == Shape::rectangle) return std::nullopt;  // a square is one
  if (rng_.chance(0.3)) {
    bool first = rng_.chance(0.5);
    return make("shape", AnswerForm::word,
                "(Is {it} {x} or {y}?|What is {it}, {x} or {y}?|Which shape is {it}: {x} or {y}?)",
                {{"it", it->text},
                 {"x", with_article(name(first ? own : wrong))},
                 {"y", with_article(name(first ? wrong : own))}},
                name(own), "shape choice " + it->key, sights_of("it", {object(index)}));
  }
  bool yes = rng_.chance(0.5);
  return make("shape", AnswerForm::yes_no,
              "(Is {it} {x}?|Is {it} {x}?|Is it true that {it} is {x}?|Is the shape of {it} {x}?|"
              "Would you say that {it} is {x}?)",
              {{"it", it->text}, {"x", with_article(spoken(yes ? own : wrong, false, rng_))}},
              yes ? "yes" : "no", "shape check " + it->key, sights_of("it", {object(index)}));
}

std::optional<Draft> Asker::check_count() {
  const Object& object = scene_.objects[static_cast<size_t>(any_object())];
  Descriptor descriptor;
  if (rng_.chance(0.5)) {
    descriptor.hue = object.hue;
  } else {
    descriptor.shape = object.shape;
  }
  std::optional<int64_t> number = matcher_.count(descriptor);
  if (!number || *number > 6) return std::nullopt;
  bool yes = rng_.chance(0.5);
  int64_t asked = yes ? *number : std::max<int64_t>(1, *number + (rng_.chance(0.5) ? 1 : -1));
  if (asked > 6 || (!yes && asked == *number)) return std::nullopt;
  Slots slots = {{"n", rng_.chance(0.6) ? number_words[static_cast<size_t>(asked)] : std::to_string(asked)},
                 {"them", noun(descriptor, asked > 1)},
                 {"are", asked > 1 ? "Are" : "Is"}};
  return make("count", AnswerForm::yes_no,
              "({are} there exactly {n} {them}?|Do you see exactly {n} {them}?|Does the (picture|image) "
              "(show|have|contain) "
              "exactly {n} {them}?|Can you count {n} {them}, not more and not fewer?)",
              slots, yes ? "yes" : "no", "count check " + descriptor.key(),
              sights_of("them", matching(descriptor), true));
}

std::optional<Draft> Asker::count_kinds() {
  if (!scene_.texts.empty() || scene_.objects.empty()) return std::nullopt;
  bool hues = rng_.chance(0.5);
  std::set<int> kinds;
  for (const Object& object : scene_.objects) {
    kinds.insert(hues ? static_cast<int>(object.hue) : static_cast<int>(object.shape));
  }
  return make(
      "count", AnswerForm::number,
      hues
          ? "(How many different colo(u|)rs do the (shapes|objects) have?|How many colo(u|)rs do the (shapes|"
            "objects) have?|In how many different colo(u|)rs are the (shapes|objects)?)"
          : "(How many different shapes are there?|How many kinds of shapes (are there|do you see)?|"
            "How many (different|distinct) shapes do you see?)",
      {}, std::to_string(kinds.size()), hues ? "kinds of hue" : "kinds of shape",
      {{"", all_objects(), false, true}});
}

std::optional<Draft> Asker::thing_at_place() {
  if (!scene_.texts.empty() || scene_.objects.empty()) return std::nullopt;
  const Object& object = scene_.objects[static_cast<size_t>(any_object())];
  std::optional<Place> place = place_of(object.x, object.y);
  if (!place) return std::nullopt;
  Descriptor descriptor;
  descriptor.place = place;
  if (!matcher_.is_unique(descriptor)) return std::nullopt;
  return make(
      "position", AnswerForm::sentence,
      "(What is {place}?|What is {place}?|(What|Which shape|Which object) (do you see|can you see) {place}?|"
      "(Tell me|Say|Name) what is {place}.|Which (object|shape|thing) is {place}?|What's {place}?|"
      "What (can be|is) (seen|shown|found) {place}?)",
      {{"place", spoken(*place, rng_)}}, full_name(object), "at place " + name(*place),
      sights_of("place", {Asker::object(index_of(object))}));
}

std::optional<Draft> Asker::arrow_direction() {
  for (size_t index = 0; index < scene_.objects.size(); ++index) {
    const Object& object = scene_.objects[index];
    if (object.shape != Shape::arrow) continue;
    std::optional<Reference> it =
        refer(static_cast<int64_t>(index), {.extremes = false, .needs_shape = true});
    if (!it) continue;
    auto quarters = std::lround(object.rotation / (std::numbers::pi / 2));
    constexpr std::array<const char*, 4> directions = {"right", "down", "left", "up"};
    return make("position", AnswerForm::word,
                "((Which|What) way does {it} point?|In (which|what) direction does {it} point?|Where does "
                "{it} point( to|)?|"
                "What is the direction of {it}?|(Tell me|Say) which way {it} points.|Does {it} point left, "
                "right, up or "
                "down?)",
                {{"it", it->text}}, directions[static_cast<size_t>((quarters % 4 + 4) % 4)],
                "direction " + it->key, sights_of("it", {Asker::object(static_cast<int64_t>(index))}));
  }
  return std::nullopt;
}

}  // namespace vlm::data
