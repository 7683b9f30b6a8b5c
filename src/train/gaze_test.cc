#include "train/gaze.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

namespace vlm {
namespace {

// A token a letter; "<image>" is one too, and stands for the four patches of a 2 x 2 grid.
class Letters final : public Tokenizer {
 public:
  static constexpr int64_t kImage = 1, kLabelled = 1000;
  Encoding encode(std::string_view, bool) const override { return {}; }
  Encoding encode_pair(std::string_view, std::string_view, bool) const override { return {}; }
  std::string decode(std::span<const int64_t>, bool) const override { return ""; }
  int64_t vocab_size() const override { return 256; }
  std::optional<int64_t> token_to_id(std::string_view) const override { return std::nullopt; }
  std::string id_to_token(int64_t id) const override {
    if (id == kImage) return "<image>";
    return id == ' ' ? "\xe2\x96\x81" : std::string(1, static_cast<char>(id));
  }
  bool is_special(int64_t) const override { return false; }
};

constexpr int64_t kFirstPatch = 2, kPatches = 4;

// "?<image>QUESTION ANSWER;", where the answer and the semicolon are learnt.
Prompt prompt_of(const data::Turn& turn) {
  Prompt prompt;
  prompt.text = "  <image>" + turn.question + " " + turn.answer + ";";
  prompt.ids = {' ', ' '};
  prompt.ids.insert(prompt.ids.end(), kPatches, Letters::kImage);
  for (char letter : turn.question + " " + turn.answer + ";") prompt.ids.push_back(letter);
  prompt.labels.assign(prompt.ids.size(), kIgnore);
  for (size_t at = prompt.ids.size() - turn.answer.size() - 1; at < prompt.ids.size(); ++at)
    prompt.labels[at] = prompt.ids[at];
  prompt.media.resize(1);
  prompt.media[0].begin = kFirstPatch;
  return prompt;
}

ScenePatches two_objects() {
  ScenePatches patches;
  patches.objects = {{{0, 1}, 1}, {{3}, 3}};
  patches.letters = {{0, -1, 2}};
  return patches;
}

using Targets = std::vector<Gaze::Target>;

TEST(Gazes, EndOfAPhraseLooksAtWhatItMeans) {
  data::Turn turn{"is red up", "yes", "position"};
  turn.looks = {{.begin = 3, .end = 6, .things = {{data::Thing::Kind::object, 0}}}};
  std::vector<Gaze> gazes = gazes_of(prompt_of(turn), Letters(), {turn}, two_objects());
  ASSERT_EQ(gazes.size(), 1u);
  EXPECT_EQ(gazes[0].row, kFirstPatch + kPatches + 5);  // the d of red
  EXPECT_FALSE(gazes[0].in_answer);
  EXPECT_EQ(gazes[0].targets, (Targets{{{kFirstPatch + 0, kFirstPatch + 1}}}));
}

TEST(Gazes, AnswersLookFromTheTokenBefore) {
  data::Turn turn{"q", "ab", "find"};
  turn.looks = {{.in_answer = true, .begin = 1, .end = 2, .things = {{data::Thing::Kind::object, 1}}},
                {.in_answer = true, .begin = 1, .end = 2, .things = {}, .is_second = true}};
  std::vector<Gaze> gazes = gazes_of(prompt_of(turn), Letters(), {turn}, two_objects());
  ASSERT_EQ(gazes.size(), 2u);
  EXPECT_EQ(gazes[0].row, kFirstPatch + kPatches + 2);  // the a, behind "q "
  EXPECT_TRUE(gazes[0].in_answer);
  EXPECT_EQ(gazes[0].targets, (Targets{{{kFirstPatch + 3}}}));
  EXPECT_TRUE(gazes[1].is_second);
  EXPECT_EQ(gazes[1].targets, (Targets{{{0}}}));  // nothing is there
}

TEST(Gazes, CountingLooksOnceAtEverythingAndAtNothing) {
  data::Turn turn{"q", "2", "count"};
  turn.looks = {{.in_answer = true,
                 .begin = 0,
                 .end = 1,
                 .things = {{data::Thing::Kind::object, 0}, {data::Thing::Kind::object, 1}},
                 .counts = true}};
  std::vector<Gaze> gazes = gazes_of(prompt_of(turn), Letters(), {turn}, two_objects());
  ASSERT_EQ(gazes.size(), 1u);
  EXPECT_EQ(gazes[0].targets, (Targets{{{kFirstPatch + 1}, 0.2}, {{kFirstPatch + 3}, 0.2}, {{0}, 0.6}}));
}

TEST(Gazes, OfAPairMayGoToTheirPhrases) {
  data::Turn turn{"a or b", "a", "comparison"};
  data::Thing first{data::Thing::Kind::object, 0}, second{data::Thing::Kind::object, 1};
  turn.looks = {{.begin = 0, .end = 1, .things = {first}},
                {.begin = 5, .end = 6, .things = {second}},
                {.in_answer = true, .begin = 0, .end = 1, .things = {first}},
                {.in_answer = true, .begin = 0, .end = 1, .things = {second}, .is_second = true}};
  std::vector<Gaze> gazes = gazes_of(prompt_of(turn), Letters(), {turn}, two_objects());
  ASSERT_EQ(gazes.size(), 5u);
  constexpr int64_t kQuestion = kFirstPatch + kPatches;
  EXPECT_EQ(gazes[0].row, kQuestion + 5);
  EXPECT_TRUE(gazes[0].in_answer);
  EXPECT_EQ(gazes[0].targets, (Targets{{{kQuestion}}}));
  EXPECT_EQ(gazes[3].targets, (Targets{{{kQuestion, kFirstPatch + 0, kFirstPatch + 1}}}));
  EXPECT_EQ(gazes[4].targets, (Targets{{{kQuestion + 5, kFirstPatch + 3}}}));
}

TEST(Gazes, LettersThatLieOutsideAreLeftOut) {
  data::Turn turn{"q", "abc", "reading"};
  for (size_t at = 0; at < 3; ++at)
    turn.looks.push_back({.in_answer = true,
                          .begin = at,
                          .end = at + 1,
                          .things = {{data::Thing::Kind::letter, 0, static_cast<int64_t>(at)}}});
  std::vector<Gaze> gazes = gazes_of(prompt_of(turn), Letters(), {turn}, two_objects());
  ASSERT_EQ(gazes.size(), 2u);
  EXPECT_EQ(gazes[0].targets, (Targets{{{kFirstPatch + 0}}}));
  EXPECT_EQ(gazes[1].targets, (Targets{{{kFirstPatch + 2}}}));
}

// Two sequences of three and four tokens; two heads of width one, whose scores are the keys themselves.
struct Scores {
  Tensor query = at::ones({7, 2, 1}), key = at::zeros({7, 2, 1});
};

TEST(GazeLoss, IsNothingWhenEveryTargetHasItsShare) {
  Scores scores;
  scores.key[3][0][0] = scores.key[5][0][0] = 40;  // of the second sequence: 0 and 2
  Gaze gaze{.row = 2, .targets = {{{0}, 0.5}, {{2}, 0.5}}};
  GazeLoss loss = gaze_loss({scores.query, scores.key}, {3, 4}, {{}, {&gaze}});
  EXPECT_NEAR(loss.loss.item<double>(), 0, 1e-5);
  EXPECT_NEAR(loss.mass, 1, 1e-5);
  EXPECT_EQ(loss.count, 1);
}

TEST(GazeLoss, SeesNothingLaterAndCountsTheSecondHeadForSecondGazes) {
  Scores scores;
  scores.key[2][0][0] = 40;  // behind the row
  scores.key[1][1][0] = std::log(3.0f);
  Gaze first{.row = 1, .targets = {{{1}}}}, second{.row = 1, .is_second = true, .targets = {{{1}}}};
  GazeLoss of_first = gaze_loss({scores.query, scores.key}, {3, 4}, {{&first}, {}});
  EXPECT_NEAR(of_first.loss.item<double>(), std::log(2), 1e-5);
  GazeLoss of_second = gaze_loss({scores.query, scores.key}, {3, 4}, {{&second}, {}});
  EXPECT_NEAR(of_second.loss.item<double>(), -std::log(0.75), 1e-5);
}

TEST(GazeLoss, GradientIsTheShareThatIsMissing) {
  Scores scores;
  scores.key.set_requires_grad(true);
  Gaze gaze{.row = 3, .targets = {{{1, 2}}}};
  GazeLoss loss = gaze_loss({scores.query, scores.key}, {3, 4}, {{}, {&gaze}});
  EXPECT_NEAR(loss.loss.item<double>(), std::log(2), 1e-5);
  Tensor gradient = torch::autograd::grad({loss.loss}, {scores.key})[0].select(1, 0).flatten();
  const std::vector<float> expected = {0, 0, 0, 0.25f, -0.25f, -0.25f, 0.25f};
  for (size_t at = 0; at < expected.size(); ++at)
    EXPECT_NEAR(gradient[static_cast<int64_t>(at)].item<float>(), expected[at], 1e-6) << at;
}

TEST(GazeLoss, HasNoneWithoutGazes) {
  Scores scores;
  EXPECT_FALSE(gaze_loss({scores.query, scores.key}, {3, 4}, {{}, {}}).loss.defined());
}

}  // namespace
}  // namespace vlm
