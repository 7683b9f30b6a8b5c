#include "train/examples.h"

#include <gtest/gtest.h>

#include "system/training.h"

namespace vlm {
namespace {

// Two ids that all turns share, a turn of three and a turn of two.
Prompt two_turns() {
  Prompt prompt;
  prompt.ids = {1, 2, 3, 4, 5, 6, 7};
  prompt.labels = {kIgnore, kIgnore, kIgnore, kIgnore, 5, kIgnore, 7};
  prompt.turns_apart = {2, 5};
  return prompt;
}

TEST(TurnsApart, StandWhereTheyWouldStandAlone) {
  ExampleBatch batch = pack_examples({two_turns()});
  EXPECT_EQ(to_ids(batch.packed.rotary_positions), (std::vector<int64_t>{0, 1, 2, 3, 4, 2, 3}));
}

TEST(TurnsApart, SeeWhatIsSharedAndThemselves) {
  ExampleBatch batch = pack_examples({two_turns()});
  ASSERT_EQ(batch.packed.bias.sizes(), (Shape{1, 1, 7, 7}));
  Tensor bias = batch.packed.bias[0][0];
  for (int64_t row = 0; row < 7; ++row)
    for (int64_t key = 0; key < 7; ++key) {
      bool is_hidden = row >= 5 && key >= 2 && key < 5;
      EXPECT_EQ(bias[row][key].item<float>() < -1e8f, is_hidden) << row << " " << key;
    }
}

TEST(TurnsApart, NeedExamplesOfOneLength) {
  Example longer, padded;
  longer.prompt = padded.prompt = two_turns();
  pad_example(longer, 9, 0);
  EXPECT_THROW(pack_examples({padded.prompt, longer.prompt}), Error);
  pad_example(padded, 9, 0);
  EXPECT_EQ(pack_examples({padded.prompt, longer.prompt}).packed.bias.size(0), 2);
}

TEST(CutExample, LeavesOutTurnsAndLooksBehindTheLastWholeAnswer) {
  Example example;
  example.prompt = two_turns();
  example.kinds = {"colour", "shape"};
  example.gazes = {{.row = 3, .in_answer = true}, {.row = 5, .in_answer = true}};
  ASSERT_TRUE(cut_example(example, 6));
  EXPECT_EQ(example.prompt.ids.size(), 5u);
  EXPECT_EQ(example.prompt.turns_apart, (std::vector<int64_t>{2}));
  EXPECT_EQ(example.kinds, (std::vector<std::string>{"colour"}));
  ASSERT_EQ(example.gazes.size(), 1u);
  EXPECT_EQ(example.gazes[0].row, 3);
}

}  // namespace
}  // namespace vlm
