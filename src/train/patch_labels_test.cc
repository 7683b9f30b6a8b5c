#include "train/patch_labels.h"

#include <gtest/gtest.h>

namespace vlm {
namespace {

// Fields in the order of patch_fields().
constexpr int64_t kHue = 0, kShape = 1, kSize = 2, kLeftLetter = 3, kRightLetter = 4, kCentre = 6;

int64_t label(const Tensor& labels, int64_t row, int64_t column, int64_t field) {
  return labels[row * 8 + column][field].item<int64_t>();
}

TEST(PatchLabels, NameTheShapeThatCoversAPatch) {
  data::Scene scene;
  data::Object square;
  square.shape = data::Shape::square, square.hue = data::Hue::green, square.size = data::Size::large;
  square.x = 0.25, square.y = 0.75, square.radius = 0.2;
  scene.objects.push_back(square);
  Tensor labels = patch_labels(scene, 8);
  EXPECT_EQ(label(labels, 6, 2, kCentre), 1);
  EXPECT_EQ(label(labels, 6, 2, kHue), 1 + static_cast<int64_t>(data::Hue::green));
  EXPECT_EQ(label(labels, 5, 1, kShape), 1 + static_cast<int64_t>(data::Shape::square));
  EXPECT_EQ(label(labels, 5, 1, kSize), 1 + static_cast<int64_t>(data::Size::large));
  EXPECT_EQ(label(labels, 5, 1, kCentre), 0);
  EXPECT_EQ(label(labels, 0, 0, kHue), 0);
  EXPECT_EQ(labels.select(1, kCentre).sum().item<int64_t>(), 1);
}

TEST(PatchLabels, TheSmallerOfTwoLiesOnTop) {
  data::Scene scene;
  data::Object large, small;
  large.hue = data::Hue::red, large.x = large.y = 0.5, large.radius = 0.3;
  small.hue = data::Hue::blue, small.x = small.y = 0.56, small.radius = 0.08;
  scene.objects = {small, large};
  EXPECT_EQ(label(patch_labels(scene, 8), 4, 4, kHue), 1 + static_cast<int64_t>(data::Hue::blue));
}

TEST(PatchLabels, PatchesBelongToWhatLiesOnTop) {
  data::Scene scene;
  data::Object large, small;
  large.shape = small.shape = data::Shape::square;
  large.x = large.y = 0.5, large.radius = 0.4;
  small.x = small.y = 0.56, small.radius = 0.08;
  scene.objects = {small, large};
  ScenePatches patches = patches_of(scene, 8);
  EXPECT_EQ(patches.objects[0].all, (std::vector<int64_t>{4 * 8 + 4}));
  EXPECT_EQ(patches.objects[0].centre, 4 * 8 + 4);
  EXPECT_GT(patches.objects[1].all.size(), 12u);
  for (int64_t patch : patches.objects[1].all) EXPECT_NE(patch, 4 * 8 + 4);
}

TEST(PatchLabels, LettersLieWhereTheyAreDrawn) {
  data::Scene scene;
  data::Text text;
  text.text = "A7";
  text.font.size_px = 0.4, text.width = 0.5, text.height = 0.3, text.x = text.y = 0.5;
  scene.texts.push_back(text);
  ScenePatches patches = patches_of(scene, 8);
  Tensor labels = patches.labels;
  ASSERT_EQ(patches.letters.size(), 1u);
  ASSERT_EQ(patches.letters[0].size(), 2u);
  EXPECT_LT(patches.letters[0][0], patches.letters[0][1]);
  EXPECT_EQ(patches.letters[0][0] / 8, patches.letters[0][1] / 8);
  constexpr int64_t kLetterA = 11, kSeven = 8;
  Tensor letters = labels.narrow(1, kLeftLetter, 2);
  EXPECT_EQ((letters > 0).sum().item<int64_t>(), 2);
  EXPECT_GT((letters.view({8, 8, 2}).narrow(1, 0, 4) == kLetterA).sum().item<int64_t>(), 0);
  EXPECT_GT((letters.view({8, 8, 2}).narrow(1, 4, 4) == kSeven).sum().item<int64_t>(), 0);
  static_assert(kRightLetter == kLeftLetter + 1);
}

TEST(PatchLoss, FallsToNothingForSureRightNames) {
  data::Scene scene = data::sample_scene(3);
  Tensor labels = patch_labels(scene, 8);
  std::vector<Tensor> logits;
  int64_t field = 0;
  for (int64_t classes : patch_fields())
    logits.push_back(at::one_hot(labels.select(1, field++), classes).to(at::kFloat) * 50);
  Tensor sure = at::cat(logits, 1);
  EXPECT_NEAR(patch_loss(sure, labels).item<double>(), 0, 1e-6);
  for (double right : patch_accuracy(sure, labels)) EXPECT_TRUE(right == 1 || right == -1) << right;
  EXPECT_GT(patch_loss(at::zeros_like(sure), labels).item<double>(), 1.0);
}

}  // namespace
}  // namespace vlm
