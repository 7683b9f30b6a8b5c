#include "train/data/asker.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>

namespace vlm::data {

std::string with_article(const std::string& noun) {
  bool vowel = !noun.empty() && std::string("aeiou").find(noun[0]) != std::string::npos;
  return (vowel && !noun.starts_with("uni") ? "an " : "a ") + noun;
}

std::string Asker::thing(bool plural) {
  static const std::vector<std::string> words = {"object", "object", "shape", "shape",
                                                 "thing",  "figure", "item"};
  return rng_.pick(words) + (plural ? "s" : "");
}

std::string Asker::noun(const Descriptor& descriptor, bool plural, bool plain_names) {
  std::string text;
  auto add = [&](const std::string& word) { text += (text.empty() ? "" : " ") + word; };
  if (descriptor.size) add(plain_names ? name(*descriptor.size) : spoken(*descriptor.size, rng_));
  if (descriptor.hue) add(plain_names ? name(*descriptor.hue) : spoken(*descriptor.hue, rng_));
  if (!descriptor.shape) {
    add(thing(plural));
  } else if (plain_names && !plural) {
    add(name(*descriptor.shape));
  } else {
    add(spoken(*descriptor.shape, plural, rng_));
  }
  if (descriptor.place) add(spoken(*descriptor.place, rng_));
  if (descriptor.side) {
    static const std::array<std::vector<std::string>, 4> words = {
        {{"on the left", "on the left side", "in the left half"},
         {"on the right", "on the right side", "in the right half"},
         {"in the upper half", "in the top half"},
         {"in the lower half", "in the bottom half"}}};
    add(rng_.pick(words[static_cast<size_t>(*descriptor.side)]));
  }
  return text;
}

std::string Asker::full_name(const Object& object) {
  return "the " + name(object.hue) + " " + name(object.shape);
}

Draft Asker::make(const char* kind, AnswerForm form, const std::string& pattern, const Slots& slots,
                  const std::string& answer, const std::string& key, const Sights& sights) {
  std::vector<FilledSlot> filled;
  Turn turn{question(pattern, slots, form, rng_, &filled), answer, kind};
  for (const Sight& sight : sights) {
    Look look{.things = sight.things, .is_second = sight.is_second, .counts = sight.counts};
    if (sight.slot.empty()) {
      look.in_answer = true;
      look.begin = sight.begin, look.end = std::min(sight.end, answer.size());
      turn.looks.push_back(look);
    }
    for (const FilledSlot& phrase : filled) {
      if (phrase.slot != sight.slot) continue;
      look.begin = phrase.begin, look.end = phrase.end;
      turn.looks.push_back(look);
    }
  }
  return {turn, key};
}

std::vector<Thing> Asker::all_objects() const {
  return matching({});
}

std::vector<Thing> Asker::matching(const Descriptor& descriptor) const {
  std::vector<Thing> things;
  for (const Object& each : scene_.objects)
    if (matcher_.match(descriptor, each) == Match::yes) things.push_back(object(index_of(each)));
  return things;
}

std::vector<Thing> Asker::letters_of(int64_t text) const {
  std::vector<Thing> things;
  for (size_t at = 0; at < scene_.texts[static_cast<size_t>(text)].text.size(); ++at)
    things.push_back({Thing::Kind::letter, text, static_cast<int64_t>(at)});
  return things;
}

std::vector<Thing> Asker::all_letters() const {
  std::vector<Thing> things;
  for (size_t text = 0; text < scene_.texts.size(); ++text)
    for (const Thing& letter : letters_of(static_cast<int64_t>(text))) things.push_back(letter);
  return things;
}

std::optional<std::pair<int64_t, int64_t>> Asker::any_pair() {
  auto count = static_cast<int64_t>(scene_.objects.size());
  if (count < 2) return std::nullopt;
  int64_t a = rng_.below(count), b = rng_.below(count - 1);
  return std::pair{a, b < a ? b : b + 1};
}

std::optional<Reference> Asker::refer(int64_t index, const Allowed& allowed) {
  const Object& object = scene_.objects[static_cast<size_t>(index)];
  bool alone = scene_.objects.size() == 1 && scene_.texts.empty();
  if (alone && allowed.extremes && !allowed.needs_shape && rng_.chance(0.2)) {
    return Reference{expand("(this|it|this {thing}|this)", {{"thing", thing(false)}}, rng_), "this"};
  }
  std::vector<Descriptor> choices;
  std::vector<double> weights;
  for (int bits = 0; bits < 16; ++bits) {
    bool size = bits & 1, hue = bits & 2, shape = bits & 4, place = bits & 8;
    if ((size && !(allowed.size && object.size)) || (hue && !allowed.hue) || (shape && !allowed.shape))
      continue;
    if ((place && !allowed.place) || (allowed.needs_shape && !shape)) continue;
    Descriptor descriptor;
    if (size) descriptor.size = object.size;
    if (hue) descriptor.hue = object.hue;
    if (shape) descriptor.shape = object.shape;
    if (place) descriptor.place = place_of(object.x, object.y);
    if (place && !descriptor.place) continue;
    if (!matcher_.is_unique(descriptor)) continue;
    int parts = size + hue + shape + place;
    choices.push_back(descriptor);
    weights.push_back(parts == 0 ? 0.7 : std::pow(0.45, parts) * (place || (size && !shape) ? 0.6 : 1.5));
  }
  std::vector<Extreme> extremes;
  for (int i = 0; allowed.extremes && i < 6; ++i) {
    auto extreme = static_cast<Extreme>(i);
    bool about_size = extreme == Extreme::largest || extreme == Extreme::smallest;
    if ((about_size && !allowed.size) || (!about_size && !allowed.place)) continue;
    if (matcher_.extreme(extreme) == index) extremes.push_back(extreme);
  }
  if (!extremes.empty() && (choices.empty() || rng_.chance(0.15))) {
    static const std::array<std::string, 6> patterns = {
        "the (leftmost {thing}|{thing} (furthest|farthest) to the left)",
        "the (rightmost {thing}|{thing} (furthest|farthest) to the right)",
        "the (topmost {thing}|highest {thing}|uppermost {thing})",
        "the (bottommost {thing}|lowest {thing})",
        "the (largest|biggest) {thing}",
        "the smallest {thing}"};
    Extreme extreme = rng_.pick(extremes);
    return Reference{expand(patterns[static_cast<size_t>(extreme)], {{"thing", thing(false)}}, rng_),
                     "extreme " + std::to_string(static_cast<int>(extreme))};
  }
  if (choices.empty()) return std::nullopt;
  const Descriptor& descriptor = choices[static_cast<size_t>(rng_.weighted(weights))];
  return Reference{"the " + noun(descriptor, false, allowed.plain_names), descriptor.key()};
}

std::optional<Draft> Asker::background_colour() {
  if (!scene_.background.hue) return std::nullopt;
  return make("colour", AnswerForm::word,
              "((What|Which) colo(u|)r is the background?|What is the (background colo(u|)r|colo(u|)r of the "
              "background)?|"
              "(Tell me|Name|Say) the (background colo(u|)r|colo(u|)r of the background).|"
              "What colo(u|)r does the background have?)",
              {}, name(*scene_.background.hue), "background");
}

std::optional<Draft> Asker::text_colour() {
  if (scene_.texts.size() != 1) return std::nullopt;
  const Text& text = scene_.texts[0];
  if (text.panel_hue && rng_.chance(0.4)) {
    return make(
        "colour", AnswerForm::word,
        "(What colo(u|)r is the sign?|What is the colo(u|)r of the sign?|Which colo(u|)r does the sign have?|"
        "(Tell me|Name) the colo(u|)r of the sign.|What colo(u|)r is behind the (text|letters)?)",
        {}, name(*text.panel_hue), "panel", {{"", letters_of(0)}});
  }
  return make(
      "colour", AnswerForm::word,
      "(What colo(u|)r (is the (text|writing|lettering)|are the letters)?|What is the colo(u|)r of the "
      "(text|writing|letters)?|In (which|what) colo(u|)r is the text( written|)?|(Tell me|Name) the "
      "colo(u|)r "
      "of the (text|letters).)",
      {}, name(text.hue), "text colour", {{"", letters_of(0)}});
}

std::optional<Draft> Asker::colour() {
  if (rng_.chance(0.07)) return background_colour();
  if (!scene_.texts.empty() && rng_.chance(0.5)) return text_colour();
  if (scene_.objects.empty()) return std::nullopt;
  if (rng_.chance(0.22)) return check_hue();
  int64_t index = any_object();
  std::optional<Reference> it = refer(index, {.hue = false});
  if (!it) return std::nullopt;
  return make(
      "colour", AnswerForm::word,
      "((What|Which) colo(u|)r is {it}?|(What|Which) colo(u|)r is {it}?|What is the colo(u|)r of {it}?|"
      "(Tell me|Name|Say|Give|Identify) the colo(u|)r of {it}.|(Can|Could) you tell me (the colo(u|)r of "
      "{it}|what colo(u|)r {it} is)?|What colo(u|)r does {it} have?|(I want|I would like|I'd like) to know "
      "(the colo(u|)r of {it}|what colo(u|)r {it} is).|Do you know (what|which) colo(u|)r {it} is?|"
      "Which colo(u|)r has {it}?|What's the colo(u|)r of {it}?|What colo(u|)r would you say {it} is?|"
      "How is {it} colo(u|)red?|(Tell me|Say) (what|which) colo(u|)r {it} is.)",
      {{"it", it->text}}, name(scene_.objects[static_cast<size_t>(index)].hue), "colour " + it->key,
      sights_of("it", {object(index)}));
}

std::optional<Draft> Asker::shape() {
  if (scene_.objects.empty()) return std::nullopt;
  if (rng_.chance(0.22)) return check_shape();
  int64_t index = any_object();
  const Object& object = scene_.objects[static_cast<size_t>(index)];
  std::optional<Reference> it = refer(index, {.shape = false});
  if (!it) return std::nullopt;
  Descriptor by_hue;
  by_hue.hue = object.hue;
  Slots slots = {{"it", it->text}, {"hue", spoken(object.hue, rng_)}};
  if (matcher_.is_unique(by_hue) && rng_.chance(0.25)) {
    return make("shape", AnswerForm::word,
                "((What|Which) shape is {hue}?|What is {hue}?|Which (object|thing) is {hue}?|"
                "(Name|Tell me) the shape that is {hue}.)",
                slots, name(object.shape), "shape " + by_hue.key(), sights_of("hue", {Asker::object(index)}));
  }
  return make(
      "shape", AnswerForm::word,
      "((What|Which) shape is {it}?|(What|Which) shape is {it}?|What is {it}?|What (kind|type|sort) of shape "
      "is "
      "{it}?|(What|Which) shape does {it} have?|What is the shape of {it}?|(Tell me|Name|Say|Give|Identify) "
      "the shape of {it}.|(Can|Could) you tell me (the shape of {it}|what shape {it} is|what {it} is)?|"
      "(I want|I would like|I'd like) to know (the shape of {it}|what {it} is).|What's {it}?|"
      "What's the shape of {it}?|Do you know what shape {it} is?|What form does {it} have?|"
      "(Tell me|Say) what {it} is.|What (do you|would you) call {it}?)",
      slots, name(object.shape), "shape " + it->key, sights_of("it", {Asker::object(index)}));
}

std::optional<Draft> Asker::size() {
  if (scene_.objects.empty()) return std::nullopt;
  int64_t index = any_object();
  const Object& object = scene_.objects[static_cast<size_t>(index)];
  if (!object.size || (object.size != Size::large && rng_.chance(0.5))) return std::nullopt;
  std::optional<Reference> it = refer(index, {.size = false});
  if (!it) return std::nullopt;
  return make(
      "size", AnswerForm::word,
      "(What size is {it}?|What is the size of {it}?|How (big|large) is {it}?|Is {it} (small, medium or "
      "large|large, medium or small|small, medium, or large|small, large or medium)?|(Tell me|Name|Give|Say) "
      "the size of {it}.|What size does {it} have?|(Can|Could) you tell me (the size of {it}|how (big|large) "
      "{it} is)?|(I want|I'd like) to know (the size of {it}|how big {it} is).|How would you describe the "
      "size "
      "of {it}?|What's the size of {it}?|Which size is {it}?)",
      {{"it", it->text}}, name(*object.size), "size " + it->key, sights_of("it", {Asker::object(index)}));
}

std::optional<Draft> Asker::count() {
  double form = rng_.uniform();
  if (form < 0.1 && !scene_.objects.empty()) return check_count();
  if (form < 0.17) return count_kinds();
  // What could be counted, by how many there are.
  std::map<int64_t, std::vector<Descriptor>> choices;
  auto offer = [&](const Descriptor& descriptor) {
    std::optional<int64_t> number = matcher_.count(descriptor);
    if (number) choices[*number].push_back(descriptor);
  };
  if (scene_.texts.empty()) offer({});
  auto any_hue = static_cast<Hue>(rng_.below(num_hues));
  auto any_shape = static_cast<Shape>(rng_.below(num_shapes));
  offer({.hue = any_hue});
  offer({.shape = any_shape});
  for (const Object& object : scene_.objects) {
    offer({.hue = object.hue});
    offer({.shape = object.shape});
    offer({.hue = object.hue, .shape = object.shape});
    offer({.hue = any_hue, .shape = object.shape});
    offer({.hue = object.hue, .shape = any_shape});
    if (object.size) {
      offer({.size = object.size});
      offer({.size = object.size, .hue = object.hue});
      offer({.size = object.size, .shape = object.shape});
    }
    for (int side = 0; side < 4; ++side) offer({.side = static_cast<Side>(side)});
  }
  if (choices.empty()) return std::nullopt;
  constexpr std::array<double, 8> wanted = {0.08, 0.17, 0.35, 0.8, 1.4, 2, 3, 3};
  std::vector<int64_t> numbers;
  std::vector<double> weights;
  for (const auto& [number, descriptors] : choices) {
    numbers.push_back(number);
    weights.push_back(wanted[static_cast<size_t>(std::min<int64_t>(number, 7))]);
  }
  int64_t number = numbers[static_cast<size_t>(rng_.weighted(weights))];
  const Descriptor& descriptor = rng_.pick(choices[number]);
  return make(
      "count", AnswerForm::number,
      "(How many {them} are there?|How many {them} are there?|How many {them} (can you see|do you see)?|"
      "How many {them} are (in the (picture|image|scene)|in this (picture|image)|shown|visible)?|"
      "Count the {them}.|What is the number of {them}?|(Tell me|Say) how many {them} there are.|"
      "(Tell me|Give|Name) the number of {them}.|How many {them} (does the (picture|image) (contain|show|"
      "have)|are present)?|(Can|Could) you count the {them}?|(I want|I'd like) to know how many {them} there "
      "are.|How many {them}?|What number of {them} do you see?|Please count the {them}.)",
      {{"them", noun(descriptor, true)}}, std::to_string(number), "count " + descriptor.key(),
      sights_of("them", matching(descriptor), true));
}

std::optional<Draft> Asker::position() {
  if (scene_.objects.empty()) return std::nullopt;
  double form = rng_.uniform();
  if (form > 0.85) return thing_at_place();
  if (form > 0.72) {
    if (std::optional<Draft> direction = arrow_direction()) return direction;
  }
  int64_t index = any_object();
  const Object& object = scene_.objects[static_cast<size_t>(index)];
  std::optional<Reference> it = refer(index, {.place = false});
  if (!it) return std::nullopt;
  Slots slots = {{"it", it->text}};
  if (form < 0.13) {
    bool across = rng_.chance(0.5);
    Side first = across ? Side::left : Side::top, second = across ? Side::right : Side::bottom;
    bool is_first = is_at(first, object.x, object.y);
    if (!is_first && !is_at(second, object.x, object.y)) return std::nullopt;
    if (across) {
      return make(
          "position", AnswerForm::word,
          "(Is {it} (on|at) the left or (on |)the right?|Is {it} on the left or right( side|)?|"
          "(On which side is {it}|Which side is {it} on), left or right?|Left or right: where is {it}?)",
          slots, is_first ? "left" : "right", "side " + it->key, sights_of("it", {Asker::object(index)}));
    }
    return make(
        "position", AnswerForm::word,
        "(Is {it} (at|in) the top or (at |)the bottom?|Is {it} in the (upper|top) or( the|) (lower|bottom) "
        "half?|Top or bottom: where is {it}?)",
        slots, is_first ? "top" : "bottom", "height " + it->key, sights_of("it", {Asker::object(index)}));
  }
  std::optional<Place> place = place_of(object.x, object.y);
  if (!place) return std::nullopt;
  if (form < 0.25) {
    bool yes = rng_.chance(0.5);
    auto asked = yes ? *place : static_cast<Place>(rng_.below(num_places));
    if (!yes && asked == *place) return std::nullopt;
    // A thing in a corner is also on that side, so only corners and the center are denied without doubt.
    auto is_edge = [](Place p) {
      return p == Place::top || p == Place::bottom || p == Place::left || p == Place::right;
    };
    if (!yes && is_edge(asked)) return std::nullopt;
    if (yes && is_edge(asked) && rng_.chance(0.8)) return std::nullopt;
    slots["place"] = spoken(asked, rng_);
    return make("position", AnswerForm::yes_no,
                "(Is {it} {place}?|Is {it} {place}( of the (picture|image)|)?|Can {it} be found {place}?|"
                "Do you see {it} {place}?|Is it true that {it} is {place}?)",
                slots, yes ? "yes" : "no", "place " + name(asked) + it->key,
                sights_of("it", {Asker::object(index)}));
  }
  return make(
      "position", AnswerForm::word,
      "(Where is {it}?|Where is {it}?|Where is {it} (located|placed|positioned)?|Where in the "
      "(picture|image) is "
      "{it}?|(In|At) (which|what) (part|area) of the (picture|image) is {it}?|What is the (position|location|"
      "place) of {it}?|(Tell me|Say|Can you tell me) where {it} is.|Where can (I|you) (find|see) {it}?|"
      "Where do you see {it}?|(Name|Give) the (position|location) of {it}.|Where's {it}?|"
      "(I want|I'd like) to know where {it} is.|In which (corner or |)part of the (picture|image) is {it}?)",
      slots, name(*place), "where " + it->key, sights_of("it", {Asker::object(index)}));
}

std::optional<Draft> Asker::text_existence() {
  return make(
      "existence", AnswerForm::yes_no,
      "(Is there (any |some |)(text|writing)( in the (picture|image)| here|)?|Does the (picture|image) "
      "(contain|have|"
      "show) (any |)(text|words|letters|writing)?|Can you see (any |)(text|letters|writing)?|Is (something|"
      "anything) written( in the picture| here|)?|Is there anything to read?)",
      {}, scene_.texts.empty() ? "no" : "yes", "has text", {{"", all_letters()}});
}

Descriptor Asker::near_descriptor(bool present) {
  const Object& object = scene_.objects[static_cast<size_t>(any_object())];
  const Object& other = scene_.objects[static_cast<size_t>(any_object())];
  Descriptor descriptor;
  constexpr std::array<double, 6> forms = {2, 2, 3, 1, 1, 0.7};
  switch (rng_.weighted(forms)) {
    case 0:
      descriptor.hue = present ? object.hue : static_cast<Hue>(rng_.below(num_hues));
      break;
    case 1:
      descriptor.shape = present ? object.shape : static_cast<Shape>(rng_.below(num_shapes));
      break;
    case 2:  // denied: mostly what the picture nearly has
      descriptor.hue = object.hue;
      descriptor.shape = object.shape;
      if (!present && rng_.chance(0.5)) {
        descriptor.hue = rng_.chance(0.6) ? other.hue : static_cast<Hue>(rng_.below(num_hues));
      } else if (!present) {
        descriptor.shape = rng_.chance(0.6) ? other.shape : static_cast<Shape>(rng_.below(num_shapes));
      }
      break;
    case 3:
      descriptor.size = present ? object.size : static_cast<Size>(rng_.below(num_sizes));
      descriptor.shape = object.shape;
      break;
    case 4:
      descriptor.size = present ? object.size : static_cast<Size>(rng_.below(num_sizes));
      descriptor.hue = object.hue;
      break;
    default:
      descriptor.hue = object.hue;
      descriptor.side = static_cast<Side>(rng_.below(4));
      break;
  }
  return descriptor;
}

std::optional<Draft> Asker::existence() {
  if (rng_.chance(scene_.texts.empty() ? 0.06 : 0.25)) return text_existence();
  if (scene_.objects.empty()) return std::nullopt;
  if (rng_.chance(0.08)) return absent();
  // Tries until something exists, or does not, as chance wants: most of what comes to mind does not.
  bool yes = rng_.chance(0.5);
  for (int attempt = 0; attempt < 8; ++attempt) {
    Descriptor descriptor = near_descriptor(yes);
    std::optional<int64_t> number = matcher_.count(descriptor);
    if (!number || (*number > 0) != yes) continue;
    Slots slots = {{"a", with_article(noun(descriptor, false))}, {"some", noun(descriptor, true)}};
    return make(
        "existence", AnswerForm::yes_no,
        "(Is there {a}?|Is there {a}( in the (picture|image|scene)|)?|Are there any {some}( in the "
        "(picture|image)"
        "|)?|(Can|Do) you see {a}?|Does the (picture|image|scene) (contain|show|have) {a}?|Is {a} "
        "(visible|present|"
        "shown|in the (picture|image))?|Can {a} be seen?|Do you see any {some}?|Is there (at least one|any) "
        "of "
        "the following: {some}?|Would you say there is {a}( in the (picture|image)|)?|Can you find {a}?)",
        slots, yes ? "yes" : "no", "exists " + descriptor.key(),
        {{"a", matching(descriptor)}, {"some", matching(descriptor)}, {"", matching(descriptor)}});
  }
  return std::nullopt;
}

}  // namespace vlm::data
