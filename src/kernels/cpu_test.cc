#include "kernels/cpu.h"

#include <gtest/gtest.h>

#include "kernels/targets.h"

#include "hwy/highway.h"

namespace vlm::kernels {
namespace {

TEST(Cpu, KnowsTheWordsOfTheEnvironment) {
  EXPECT_EQ(level_of("off"), Level::off);
  EXPECT_EQ(level_of("avx2"), Level::avx2);
  EXPECT_EQ(level_of("best"), Level::best);
  for (const char* word : {"", "avx512", "AVX2", "none"}) EXPECT_EQ(level_of(word), std::nullopt);
}

#if (HWY_TARGETS & (HWY_TARGETS - 1)) != 0

// The index of what a kernel that is called now would run on.
size_t chosen_target() {
  return hwy::GetChosenTarget().GetIndex();
}

TEST(Cpu, AskingForTheTargetsChoosesNone) {
  const std::vector<int64_t> targets = usable_targets();
  use_only_target(targets.back());
  const size_t worst = chosen_target();
  use_only_target(0);
  if (targets.size() == 1) return;
  ASSERT_NE(chosen_target(), worst);
  int64_t better = 0;
  for (int64_t target : targets)
    if (target != targets.back()) better |= target;
  hwy::DisableTargets(better);
  EXPECT_EQ(usable_targets(), std::vector<int64_t>{targets.back()});
  EXPECT_EQ(chosen_target(), worst);
  hwy::DisableTargets(0);
  EXPECT_EQ(usable_targets(), targets);
}

#endif

}  // namespace
}  // namespace vlm::kernels
