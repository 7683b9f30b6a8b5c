// Makes one turn of a kind about a scene; internal to questions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/data/matching.h"
#include "train/data/phrases.h"
#include "train/data/questions.h"

namespace vlm::data {

struct Draft {
  Turn turn;
  std::string key;  // equal for turns that ask the same
};

// What a slot's phrase means, or, with the slot "", what the answer tells of.
struct Sight {
  std::string slot;
  std::vector<Thing> things;
  bool is_second = false, counts = false;
  size_t begin = 0, end = std::string::npos;  // the part of the answer
};
using Sights = std::vector<Sight>;

struct Reference {
  std::string text;  // "the small circle"
  std::string key;
};

// Every function gives nothing when the scene does not allow the question that chance chose.
class Asker {
 public:
  Asker(const Scene& scene, Rng& rng) : scene_(scene), rng_(rng), matcher_(scene) {}

  std::optional<Draft> colour();
  std::optional<Draft> shape();
  std::optional<Draft> size();
  std::optional<Draft> count();
  std::optional<Draft> position();
  std::optional<Draft> existence();
  std::optional<Draft> relation();
  std::optional<Draft> comparison();
  std::optional<Draft> reading();
  std::optional<Draft> caption();
  std::optional<Draft> emoji();
  std::optional<Draft> chat();

 private:
  struct Allowed {
    bool size = true, hue = true, shape = true, place = true, extremes = true;
    bool plain_names = false;  // no synonyms
    bool needs_shape = false;
  };
  // A phrase that means this object and no other.
  std::optional<Reference> refer(int64_t index, const Allowed& allowed);
  std::string noun(const Descriptor& descriptor, bool plural, bool plain_names = false);
  std::string thing(bool plural);
  static std::string full_name(const Object& object);  // "the red circle"
  int64_t any_object() { return rng_.below(static_cast<int64_t>(scene_.objects.size())); }
  std::optional<std::pair<int64_t, int64_t>> any_pair();
  Draft make(const char* kind, AnswerForm form, const std::string& pattern, const Slots& slots,
             const std::string& answer, const std::string& key, const Sights& sights = {});

  static Thing object(int64_t index) { return {Thing::Kind::object, index}; }
  static Thing picture(int64_t index) { return {Thing::Kind::picture, index}; }
  std::vector<Thing> all_objects() const;
  std::vector<Thing> all_letters() const;
  std::vector<Thing> letters_of(int64_t text) const;
  std::vector<Thing> matching(const Descriptor& descriptor) const;
  int64_t index_of(const Object& object) const { return &object - scene_.objects.data(); }
  static Sights sights_of(const std::string& slot, const std::vector<Thing>& things, bool counts = false) {
    return {{slot, things, false, counts}, {"", things, false, counts}};
  }
  static Sights sights_of_pair(int64_t a, int64_t b) {
    return {{"a", {object(a)}}, {"b", {object(b)}}, {"", {object(a)}}, {"", {object(b)}, true}};
  }

  // What an object has, or what it nearly has.
  Descriptor near_descriptor(bool present);
  // About what is not there.
  std::optional<Draft> absent();
  std::optional<Draft> check_hue();
  std::optional<Draft> check_shape();
  std::optional<Draft> check_count();
  std::optional<Draft> count_kinds();
  std::optional<Draft> thing_at_place();
  std::optional<Draft> arrow_direction();
  std::optional<Draft> background_colour();
  std::optional<Draft> text_colour();
  std::optional<Draft> text_existence();
  std::optional<Draft> relation_yes_no(int64_t a, int64_t b);
  std::optional<Draft> relation_where(int64_t a, int64_t b);
  std::optional<Draft> relation_what(int64_t b);
  std::optional<Draft> compare_sizes(int64_t a, int64_t b);
  std::optional<Draft> compare_counts();
  std::optional<Draft> compare_attribute(int64_t a, int64_t b);
  std::optional<Draft> name_extreme();

  const Scene& scene_;
  Rng& rng_;
  Matcher matcher_;
};

std::string with_article(const std::string& noun);  // "a cat", "an owl"

}  // namespace vlm::data
