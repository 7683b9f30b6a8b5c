#include "train/data/questions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>
#include <sstream>

#include "train/data/dataset.h"
#include "train/data/phrases.h"

namespace vlm::data {
namespace {

std::vector<std::string> words_of(const std::string& text) {
  std::string clean;
  for (char c : text)
    clean += std::isalpha(static_cast<unsigned char>(c)) ? static_cast<char>(std::tolower(c)) : ' ';
  std::istringstream stream(clean);
  return {std::istream_iterator<std::string>(stream), {}};
}

// What a reader takes from the words of a question, found without the generator's own structures.
struct Reading {
  std::set<std::string> sizes, hues, shapes;
  bool about_place = false;
};

Reading read(const std::string& question) {
  static const std::map<std::string, std::string> sizes = {
      {"small", "small"},   {"little", "small"}, {"tiny", "small"}, {"medium", "medium"},
      {"middle", "medium"}, {"large", "large"},  {"big", "large"},  {"huge", "large"}};
  static const std::map<std::string, std::string> shapes = {
      {"disc", "circle"},     {"disk", "circle"},    {"dot", "circle"},       {"ellipse", "oval"},
      {"rhombus", "diamond"}, {"rhombu", "diamond"}, {"rhombuse", "diamond"}, {"plus", "cross"},
      {"pluse", "cross"},     {"moon", "crescent"},  {"crosse", "cross"}};
  static const std::set<std::string> places = {
      "left",     "right",    "top",       "bottom",  "upper",      "lower",    "center",    "centre",
      "corner",   "leftmost", "rightmost", "topmost", "bottommost", "highest",  "lowest",    "uppermost",
      "furthest", "farthest", "largest",   "biggest", "smallest",   "exactly",  "different", "colors",
      "colours",  "kinds",    "distinct",  "text",    "writing",    "letters",  "sign",      "background",
      "written",  "words",    "read",      "or",      "fewer",      "lettering"};
  Reading result;
  std::vector<std::string> words = words_of(question);
  for (size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (word == "half" && i + 1 < words.size() && words[i + 1].starts_with("moon")) continue;
    bool at_middle = word == "middle" && (i + 1 >= words.size() || words[i + 1] != "sized");
    if (places.contains(word) || word == "half" || at_middle) result.about_place = true;
    if (auto size = sizes.find(word); size != sizes.end()) result.sizes.insert(size->second);
    if (word == "grey") word = "gray";
    if (word == "violet") word = "purple";
    for (int64_t hue = 0; hue < num_hues; ++hue) {
      if (word == name(static_cast<Hue>(hue))) result.hues.insert(word);
    }
    if (word.size() > 1 && word.back() == 's' && !word.ends_with("ss") && word != "plus") word.pop_back();
    if (auto shape = shapes.find(word); shape != shapes.end()) word = shape->second;
    for (int64_t shape = 0; shape < num_shapes; ++shape) {
      if (word == name(static_cast<Shape>(shape))) result.shapes.insert(word);
    }
  }
  return result;
}

std::vector<const Object*> meant(const Reading& reading, const Scene& scene) {
  std::vector<const Object*> result;
  for (const Object& object : scene.objects) {
    bool fits = (reading.hues.empty() || reading.hues.contains(name(object.hue))) &&
                (reading.shapes.empty() || reading.shapes.contains(name(object.shape)));
    if (!reading.sizes.empty()) fits &= object.size && reading.sizes.contains(name(*object.size));
    if (fits) result.push_back(&object);
  }
  return result;
}

TEST(Questions, PlainOnesHaveOneAnswerAndItIsTheGivenOne) {
  std::map<std::string, int> checked;
  for (uint64_t seed = 0; seed < 700; ++seed) {
    Scene scene = sample_scene(seed);
    if (!scene.pictures.empty()) continue;
    for (const Turn& turn : ask(scene, seed, {})) {
      Reading reading = read(turn.question);
      if (reading.about_place || reading.hues.size() > 1 || reading.shapes.size() > 1) continue;
      std::vector<const Object*> objects = meant(reading, scene);
      std::string where = turn.question + " -> " + turn.answer + ", seed " + std::to_string(seed);
      bool yes_no = turn.answer == "yes" || turn.answer == "no";
      if (turn.kind == "colour" && !yes_no) {
        ASSERT_EQ(objects.size(), 1U) << where;
        EXPECT_EQ(turn.answer, name(objects[0]->hue)) << where;
      } else if (turn.kind == "shape" && !yes_no) {
        ASSERT_EQ(objects.size(), 1U) << where;
        EXPECT_EQ(turn.answer, name(objects[0]->shape)) << where;
      } else if (turn.kind == "size" && reading.sizes.size() < 2) {
        reading.sizes.clear();  // "how large is ..."
        objects = meant(reading, scene);
        ASSERT_EQ(objects.size(), 1U) << where;
        EXPECT_EQ(turn.answer, name(*objects[0]->size)) << where;
      } else if (turn.kind == "count" && !yes_no) {
        EXPECT_EQ(turn.answer, std::to_string(objects.size())) << where;
      } else if (turn.kind == "existence" && yes_no) {
        EXPECT_EQ(turn.answer, objects.empty() ? "no" : "yes") << where;
      } else {
        continue;
      }
      ++checked[turn.kind];
    }
  }
  for (const char* kind : {"colour", "shape", "size", "count", "existence"})
    EXPECT_GT(checked[kind], 100) << kind;
}

TEST(Questions, TheSameQuestionIsNeverAnsweredInTwoWays) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Scene scene = sample_scene(seed);
    std::map<std::string, std::string> answers;
    for (uint64_t round = 0; round < 12; ++round) {
      for (const Turn& turn : ask(scene, round, {})) {
        if (turn.kind == "caption") continue;  // the same wish may be met at more or less length
        auto [known, added] = answers.emplace(turn.question, turn.answer);
        EXPECT_EQ(known->second, turn.answer) << turn.question << ", seed " << seed;
      }
    }
  }
}

TEST(Questions, AnswersAreBalanced) {
  std::map<std::string, std::map<std::string, double>> answers;
  std::map<std::string, double> kinds;
  double total = 0;
  std::set<std::string> questions;
  for (uint64_t index = 0; index < 3000; ++index) {
    for (const Turn& turn : make_turns(11, index)) {
      ++answers[turn.kind][turn.answer];
      ++kinds[turn.kind];
      ++total;
      questions.insert(turn.question);
    }
  }
  for (const char* kind :
       {"colour", "shape", "size", "count", "position", "relation", "existence", "comparison", "reading"}) {
    EXPECT_GT(kinds[kind] / total, 0.04) << kind;
    EXPECT_LT(kinds[kind] / total, 0.2) << kind;
    double yes = answers[kind]["yes"], no = answers[kind]["no"];
    if (yes + no > 100) {
      EXPECT_NEAR(yes / (yes + no), 0.5, 0.13) << kind;
    }
  }
  EXPECT_GT(kinds["caption"] / total, 0.02);
  EXPECT_GT(kinds["chat"] / total, 0.005);
  for (int64_t hue = 0; hue < num_hues; ++hue) {
    double share = answers["colour"][name(static_cast<Hue>(hue))] / kinds["colour"];
    EXPECT_GT(share, 0.03) << name(static_cast<Hue>(hue));
    EXPECT_LT(share, 0.2) << name(static_cast<Hue>(hue));
  }
  for (int64_t shape = 0; shape < num_shapes; ++shape) {
    double share = answers["shape"][name(static_cast<Shape>(shape))] / kinds["shape"];
    EXPECT_GT(share, 0.03) << name(static_cast<Shape>(shape));
    EXPECT_LT(share, 0.12) << name(static_cast<Shape>(shape));
  }
  for (int number = 0; number <= 6; ++number) {
    double share = answers["count"][std::to_string(number)] / kinds["count"];
    EXPECT_GT(share, 0.03) << number;
    EXPECT_LT(share, 0.3) << number;
  }
  EXPECT_GT(questions.size(), 8000U);  // of about 23000
}

TEST(Questions, TextsAreWellFormed) {
  for (uint64_t index = 0; index < 1000; ++index) {
    for (const Turn& turn : make_turns(12, index)) {
      for (const std::string& text : {turn.question, turn.answer}) {
        ASSERT_FALSE(text.empty());
        EXPECT_EQ(text.find_first_of("{}|()"), std::string::npos) << text;
        EXPECT_EQ(text.find("  "), std::string::npos) << text;
        EXPECT_EQ(text.find(" ?"), std::string::npos) << text;
        EXPECT_NE(text.front(), ' ') << text;
        EXPECT_NE(text.back(), ' ') << text;
        EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }))
            << text;
      }
    }
  }
}

TEST(Questions, LooksAreAtWhatTurnsSpeakOf) {
  std::map<std::string, int64_t> checked;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Scene scene = sample_scene(seed);
    for (const Turn& turn : ask(scene, seed, {})) {
      for (const Look& look : turn.looks) {
        const std::string& text = look.in_answer ? turn.answer : turn.question;
        ASSERT_LT(look.begin, look.end) << turn.question;
        ASSERT_LE(look.end, text.size()) << turn.question;
        std::string part = text.substr(look.begin, look.end - look.begin);
        for (const Thing& thing : look.things) {
          auto index = static_cast<size_t>(thing.index);
          if (thing.kind == Thing::Kind::letter) {
            const std::string& written = scene.texts.at(index).text;
            ASSERT_LT(static_cast<size_t>(thing.letter), written.size());
            if (turn.kind != "reading" || turn.answer == "yes" || turn.answer == "no") continue;
            EXPECT_EQ(part, written.substr(static_cast<size_t>(thing.letter), 1)) << turn.question;
          } else if (thing.kind == Thing::Kind::object) {
            const Object& object = scene.objects.at(index);
            Reading words = read(part);
            if (!words.hues.empty() && !look.in_answer) {
              EXPECT_TRUE(words.hues.contains(name(object.hue))) << part;
            }
            if (turn.kind == "colour" && look.in_answer && turn.answer != "yes" && turn.answer != "no") {
              EXPECT_EQ(turn.answer, name(object.hue)) << turn.question;
            }
          } else {
            ASSERT_LT(index, scene.pictures.size());
          }
          ++checked[turn.kind];
        }
        if (look.things.empty() && turn.kind == "existence") {
          EXPECT_TRUE(turn.answer == "no" || turn.answer.starts_with("There is no")) << turn.question;
        }
      }
    }
  }
  for (const char* kind : {"colour", "count", "position", "relation", "comparison", "reading", "caption"})
    EXPECT_GT(checked[kind], 20) << kind;
}

TEST(Questions, ReadingAnswersAreWhatIsWritten) {
  SceneOptions options;
  options.text_share = 1;
  options.emoji_share = 0;
  int64_t checked = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Scene scene = sample_scene(seed, options);
    for (const Turn& turn : ask(scene, seed, {})) {
      if (turn.kind != "reading" || turn.answer == "yes" || turn.answer == "no") continue;
      bool found = std::any_of(scene.texts.begin(), scene.texts.end(),
                               [&](const Text& text) { return text.text == turn.answer; });
      EXPECT_TRUE(found) << turn.answer;
      ++checked;
    }
  }
  EXPECT_GT(checked, 150);
}

TEST(Phrases, AlternativesNestAndSlotsFill) {
  Rng rng(3);
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) seen.insert(expand("(a|b(c|d)) {x}", {{"x", "(y|z)"}}, rng));
  EXPECT_EQ(seen, (std::set<std::string>{"a (y|z)", "bc (y|z)", "bd (y|z)"}));
}

}  // namespace
}  // namespace vlm::data
