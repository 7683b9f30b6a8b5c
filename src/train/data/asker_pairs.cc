// Questions about two objects: relations and comparisons.
#include <array>
#include <cmath>

#include "train/data/asker.h"

namespace vlm::data {
namespace {

constexpr std::array<const char*, 4> relation_patterns = {
    "((to the |)left of|on the left( side|) of)", "((to the |)right of|on the right( side|) of)",
    "(above|over|higher than)", "(below|under|beneath|lower than)"};
constexpr std::array<const char*, 4> relation_names = {"left", "right", "above", "below"};

// How far `a` lies from `b` in that direction, in parts of the picture.
double lead(Side side, const Object& a, const Object& b) {
  switch (side) {
    case Side::left:
      return b.x - a.x;
    case Side::right:
      return a.x - b.x;
    case Side::top:
      return b.y - a.y;
    case Side::bottom:
      return a.y - b.y;
  }
  return 0;
}

constexpr double clear_lead = 0.12;

}  // namespace

std::optional<Draft> Asker::relation_yes_no(int64_t a, int64_t b) {
  Allowed allowed = {.place = false, .extremes = false};
  std::optional<Reference> first = refer(a, allowed), second = refer(b, allowed);
  if (!first || !second) return std::nullopt;
  auto side = static_cast<Side>(rng_.below(4));
  double distance =
      lead(side, scene_.objects[static_cast<size_t>(a)], scene_.objects[static_cast<size_t>(b)]);
  if (std::abs(distance) < clear_lead) return std::nullopt;
  Slots slots = {{"a", first->text},
                 {"b", second->text},
                 {"of", expand(relation_patterns[static_cast<size_t>(side)], {}, rng_)}};
  return make(
      "relation", AnswerForm::yes_no,
      "(Is {a} {of} {b}?|Is {a} {of} {b}?|Is it true that {a} is {of} {b}?|Is {a} (located|placed) {of} {b}?|"
      "Can you see {a} {of} {b}?|Would you say {a} is {of} {b}?)",
      slots, distance > 0 ? "yes" : "no",
      "is " + first->key + " " + std::to_string(static_cast<int>(side)) + " " + second->key,
      sights_of_pair(a, b));
}

std::optional<Draft> Asker::relation_where(int64_t a, int64_t b) {
  const Object& one = scene_.objects[static_cast<size_t>(a)];
  const Object& other = scene_.objects[static_cast<size_t>(b)];
  double across = one.x - other.x, down = one.y - other.y;
  Side side = across < 0 ? Side::left : Side::right;
  if (std::abs(down) > 2 * std::abs(across)) {
    side = down < 0 ? Side::top : Side::bottom;
  } else if (std::abs(across) < 2 * std::abs(down)) {
    return std::nullopt;
  }
  if (lead(side, one, other) < 0.15) return std::nullopt;
  Allowed allowed = {.place = false, .extremes = false};
  std::optional<Reference> first = refer(a, allowed), second = refer(b, allowed);
  if (!first || !second) return std::nullopt;
  return make(
      "relation", AnswerForm::word,
      "(Where is {a} (relative to|compared to|in relation to|with respect to) {b}?|Is {a} left of, right of, "
      "above or below {b}?|(On which side|In which direction) of {b} is {a}?|Seen from {b}, where is {a}?|"
      "Where is {a}, seen from {b}?)",
      {{"a", first->text}, {"b", second->text}}, relation_names[static_cast<size_t>(side)],
      "from " + first->key + " " + second->key, sights_of_pair(a, b));
}

std::optional<Draft> Asker::relation_what(int64_t b) {
  const Object& other = scene_.objects[static_cast<size_t>(b)];
  auto side = static_cast<Side>(rng_.below(4));
  const Object* found = nullptr;
  for (const Object& object : scene_.objects) {
    if (&object == &other) continue;
    double distance = lead(side, object, other);
    if (distance < -0.04) continue;
    if (distance < clear_lead || found) return std::nullopt;
    found = &object;
  }
  if (!found || matcher_.has_panel()) return std::nullopt;
  std::optional<Reference> second = refer(b, {.place = false, .extremes = false});
  if (!second) return std::nullopt;
  Slots slots = {{"b", second->text},
                 {"thing", thing(false)},
                 {"of", expand(relation_patterns[static_cast<size_t>(side)], {}, rng_)}};
  std::string key = std::to_string(static_cast<int>(side)) + " " + second->key;
  Sights sights = {{"b", {object(b)}}, {"", {object(index_of(*found))}}, {"", {object(b)}, true}};
  double form = rng_.uniform();
  if (form < 0.3) {
    return make(
        "relation", AnswerForm::word,
        "(What colo(u|)r is the {thing} (that is |){of} {b}?|What is the colo(u|)r of the {thing} {of} {b}?|"
        "(Tell me|Name) the colo(u|)r of the {thing} {of} {b}.)",
        slots, name(found->hue), "colour of " + key, sights);
  }
  if (form < 0.6) {
    return make("relation", AnswerForm::word,
                "((What|Which) shape is {of} {b}?|What is the shape of the {thing} {of} {b}?|"
                "What shape is the {thing} (that is |){of} {b}?|(Tell me|Name) the shape {of} {b}.)",
                slots, name(found->shape), "shape of " + key, sights);
  }
  return make("relation", AnswerForm::sentence,
              "(What is {of} {b}?|What is {of} {b}?|What (do you see|can you see) {of} {b}?|Which "
              "(object|thing) is {of} "
              "{b}?|(Tell me|Say|Name) what is {of} {b}.|What lies {of} {b}?|What's {of} {b}?)",
              slots, full_name(*found), "what " + key, sights);
}

std::optional<Draft> Asker::relation() {
  auto pair = any_pair();
  if (!pair) return std::nullopt;
  double form = rng_.uniform();
  if (form < 0.4) return relation_yes_no(pair->first, pair->second);
  if (form < 0.65) return relation_where(pair->first, pair->second);
  return relation_what(pair->second);
}

std::optional<Draft> Asker::compare_sizes(int64_t a, int64_t b) {
  const Object& one = scene_.objects[static_cast<size_t>(a)];
  const Object& other = scene_.objects[static_cast<size_t>(b)];
  bool larger = is_clearly_larger(one, other);
  if (!larger && !is_clearly_larger(other, one)) return std::nullopt;
  bool ask_larger = rng_.chance(0.5);
  if (rng_.chance(0.5)) {
    Allowed allowed = {.size = false, .extremes = false};
    std::optional<Reference> first = refer(a, allowed), second = refer(b, allowed);
    if (!first || !second) return std::nullopt;
    return make("comparison", AnswerForm::yes_no,
                "(Is {a} {more} than {b}?|Is {a} {more} than {b}?|Is it true that {a} is {more} than {b}?|"
                "Would you say that {a} is {more} than {b}?|Compare {a} and {b}: is the first one {more}?)",
                {{"a", first->text},
                 {"b", second->text},
                 {"more", expand(ask_larger ? "(bigger|larger)" : "smaller", {}, rng_)}},
                larger == ask_larger ? "yes" : "no", "larger " + first->key + " " + second->key,
                sights_of_pair(a, b));
  }
  Allowed allowed = {.size = false, .place = false, .extremes = false, .plain_names = true};
  std::optional<Reference> first = refer(a, allowed), second = refer(b, allowed);
  // Answers repeat what the question calls it, so it must not be "the red object".
  auto named = [](const Object& object, const std::string& text) {
    return text == full_name(object) || text == "the " + name(object.shape);
  };
  if (!first || !second || !named(one, first->text) || !named(other, second->text)) return std::nullopt;
  return make("comparison", AnswerForm::sentence,
              "((What|Which|Which one) is {more}, {a} or {b}?|Which of the two is {more}: {a} or {b}?|"
              "(Tell me|Say) which is {more}, {a} or {b}.|Of {a} and {b}, which is {more}?|"
              "Is {a} or {b} {more}?|{a} or {b}: which is {more}?)",
              {{"a", first->text},
               {"b", second->text},
               {"more", expand(ask_larger ? "(bigger|larger)" : "smaller", {}, rng_)}},
              larger == ask_larger ? first->text : second->text,
              "which larger " + first->key + " " + second->key, sights_of_pair(a, b));
}

std::optional<Draft> Asker::compare_counts() {
  const Object& one = scene_.objects[static_cast<size_t>(any_object())];
  const Object& other = scene_.objects[static_cast<size_t>(any_object())];
  bool by_hue = rng_.chance(0.5);
  Descriptor a, b;
  if (by_hue) {
    a.hue = one.hue;
    b.hue = other.hue;
  } else {
    a.shape = one.shape;
    b.shape = other.shape;
  }
  std::optional<int64_t> count_a = matcher_.count(a), count_b = matcher_.count(b);
  if (!count_a || !count_b || *count_a == *count_b) return std::nullopt;
  bool more = rng_.chance(0.7);
  bool a_wins = (*count_a > *count_b) == more;
  Slots slots = {{"a", noun(a, true)}, {"b", noun(b, true)}, {"more", more ? "more" : "fewer"}};
  std::string key = "more " + a.key() + " " + b.key();
  std::vector<Thing> of_a = matching(a), of_b = matching(b);
  Sights sights = {{"a", of_a, false, true}, {"b", of_b, false, true}, {"", of_a}, {"", of_b, true}};
  if (rng_.chance(0.6)) {
    return make(
        "comparison", AnswerForm::yes_no,
        "(Are there {more} {a} than {b}?|Are there {more} {a} than {b}?|Do you see {more} {a} than {b}?|"
        "Does the (picture|image) (have|contain|show) {more} {a} than {b}?|Is the number of {a} " +
            std::string(more ? "(larger|greater|higher)" : "(smaller|lower)") + " than the number of {b}?)",
        slots, a_wins ? "yes" : "no", key, sights);
  }
  if (!by_hue) return std::nullopt;
  slots["a"] = name(one.hue);
  slots["b"] = name(other.hue);
  return make("comparison", AnswerForm::word,
              "(Are there {more} {a} or {b} (objects|shapes|things)?|Which colo(u|)r has {more} "
              "(objects|shapes), {a} or {b}?|"
              "What are there {more} of, {a} or {b} (objects|shapes|things)?)",
              slots, name(a_wins ? one.hue : other.hue), key, sights);
}

std::optional<Draft> Asker::compare_attribute(int64_t a, int64_t b) {
  const Object& one = scene_.objects[static_cast<size_t>(a)];
  const Object& other = scene_.objects[static_cast<size_t>(b)];
  bool by_hue = rng_.chance(0.5);
  bool same = by_hue ? one.hue == other.hue : one.shape == other.shape;
  if (!same && rng_.chance(0.2)) return std::nullopt;  // most pairs differ
  Allowed allowed = {.hue = !by_hue, .shape = by_hue, .extremes = false};
  std::optional<Reference> first = refer(a, allowed), second = refer(b, allowed);
  if (!first || !second) return std::nullopt;
  return make(
      "comparison", AnswerForm::yes_no,
      "(Do {a} and {b} have the same {what}?|Do {a} and {b} have the same {what}?|Are {a} and {b} the same "
      "{what}?|Is the {what} of {a} the same as that of {b}?|Are {a} and {b} of the same {what}?|"
      "Does {a} have the same {what} as {b}?|Is {a} the same {what} as {b}?)",
      {{"a", first->text},
       {"b", second->text},
       {"what", by_hue ? expand("colo(u|)r", {}, rng_) : std::string("shape")}},
      same ? "yes" : "no", "same " + first->key + " " + second->key, sights_of_pair(a, b));
}

std::optional<Draft> Asker::name_extreme() {
  auto extreme = static_cast<Extreme>(rng_.below(6));
  std::optional<int64_t> index = matcher_.extreme(extreme);
  if (!index) return std::nullopt;
  static const std::array<std::string, 6> patterns = {"(leftmost {thing}|{thing} furthest to the left)",
                                                      "(rightmost {thing}|{thing} furthest to the right)",
                                                      "(topmost|highest) {thing}",
                                                      "(bottommost|lowest) {thing}",
                                                      "(largest|biggest) {thing}",
                                                      "smallest {thing}"};
  std::string it = expand(patterns[static_cast<size_t>(extreme)], {{"thing", thing(false)}}, rng_);
  return make("comparison", AnswerForm::sentence,
              "(Which( one|) is the {it}?|Which is the {it}?|Name the {it}.|Describe the {it}.|"
              "(Tell me|Say) which is the {it}.)",
              {{"it", it}}, full_name(scene_.objects[static_cast<size_t>(*index)]),
              "name extreme " + std::to_string(static_cast<int>(extreme)), sights_of("it", {object(*index)}));
}

std::optional<Draft> Asker::comparison() {
  auto pair = any_pair();
  if (!pair) return std::nullopt;
  double form = rng_.uniform();
  if (form < 0.35) return compare_sizes(pair->first, pair->second);
  if (form < 0.6) return compare_counts();
  if (form < 0.85) return compare_attribute(pair->first, pair->second);
  return name_extreme();
}

}  // namespace vlm::data
