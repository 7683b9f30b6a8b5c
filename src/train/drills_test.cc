#include "train/drills.h"

#include <gtest/gtest.h>

#include <map>

#include "train/dense_scene.h"

namespace vlm {
namespace {

data::Object object(data::Shape shape, data::Hue hue, double x, double y) {
  data::Object made;
  made.shape = shape, made.hue = hue, made.size = data::Size::small;
  made.x = x, made.y = y, made.radius = 0.08;
  return made;
}

TEST(Drills, SayAllAboutWhatMatchesFromLeftToRight) {
  data::Scene scene;
  scene.objects = {object(data::Shape::star, data::Hue::red, 0.85, 0.15),
                   object(data::Shape::circle, data::Hue::red, 0.15, 0.85)};
  std::map<std::string, std::string> answers;
  data::Rng rng(1);
  for (int at = 0; at < 40; ++at)
    for (const data::Turn& turn : drill(scene, rng, 4)) answers[turn.question] = turn.answer;
  EXPECT_EQ(answers.at("find red"), "small red circle bottom left, small red star top right");
  EXPECT_EQ(answers.at("find star"), "small red star top right");
  EXPECT_EQ(answers.at("find bottom left"), "small red circle bottom left");
  bool has_absent = false;
  for (const auto& [question, answer] : answers) has_absent |= answer == "no";
  EXPECT_TRUE(has_absent);
}

TEST(Drills, SayWhatEveryPartOfTheAnswerLooksAt) {
  data::Scene scene;
  scene.objects = {object(data::Shape::star, data::Hue::red, 0.85, 0.15),
                   object(data::Shape::circle, data::Hue::red, 0.15, 0.85)};
  std::map<std::string, data::Turn> turns;
  data::Rng rng(1);
  for (int at = 0; at < 40; ++at)
    for (const data::Turn& turn : drill(scene, rng, 4)) turns[turn.question] = turn;
  const data::Turn& red = turns.at("find red");
  ASSERT_EQ(red.looks.size(), 3u);
  auto part = [&](const data::Look& look) { return red.answer.substr(look.begin, look.end - look.begin); };
  EXPECT_EQ(part(red.looks[0]), "small red circle bottom left");
  EXPECT_EQ(red.looks[0].things.at(0).index, 1);
  EXPECT_EQ(part(red.looks[1]), "small red star top right");
  EXPECT_EQ(red.looks[1].things.at(0).index, 0);
  EXPECT_FALSE(red.looks[2].in_answer);
  EXPECT_EQ(red.looks[2].things.size(), 2u);
}

TEST(Drills, CompareTwoThingsInAllThatIsClear) {
  data::Scene scene;
  scene.objects = {object(data::Shape::star, data::Hue::red, 0.85, 0.15),
                   object(data::Shape::circle, data::Hue::red, 0.15, 0.2)};
  std::map<std::string, data::Turn> turns;
  data::Rng rng(1);
  for (int at = 0; at < 80; ++at)
    for (const data::Turn& turn : drill(scene, rng, 4)) turns[turn.question] = turn;
  const data::Turn& turn = turns.at("compare star with circle");
  EXPECT_EQ(turn.answer, "same color, other shape, right");
  EXPECT_EQ(turns.at("compare circle with star").answer, "same color, other shape, left");
  ASSERT_EQ(turn.looks.size(), 4u);
  EXPECT_EQ(turn.question.substr(turn.looks[1].begin), "circle");
  EXPECT_EQ(turn.looks[1].things.at(0).index, 1);
  EXPECT_TRUE(turn.looks[3].is_second);
  EXPECT_EQ(turn.looks[3].things.at(0).index, 1);
}

TEST(Drills, AskNothingTwiceAndNothingOfAnEmptyScene) {
  data::Rng rng(1);
  EXPECT_TRUE(drill({}, rng, 5).empty());
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::map<std::string, int> times;
    for (const data::Turn& turn : drill(data::sample_scene(seed), rng, 6))
      EXPECT_EQ(++times[turn.question], 1) << turn.question;
  }
}

TEST(DenseScene, HoldsManyThingsInsideThePicture) {
  data::Rng rng(3);
  int64_t objects = 0, letters = 0, scenes = 200;
  for (int64_t at = 0; at < scenes; ++at) {
    data::Scene scene = dense_scene(rng, {});
    for (const data::Object& each : scene.objects) {
      ++objects;
      EXPECT_GE(each.x - each.radius, -0.01);
      EXPECT_LE(each.y + each.radius, 1.01);
    }
    for (const data::Text& text : scene.texts) {
      letters += static_cast<int64_t>(text.text.size());
      EXPECT_LE(text.width, 1.0) << text.text;
    }
  }
  EXPECT_GT(objects, 2 * scenes);  // an ordinary scene has about two
  EXPECT_GT(letters, 5 * scenes);
}

}  // namespace
}  // namespace vlm
