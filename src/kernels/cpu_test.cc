#include "kernels/cpu.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <set>

#include "kernels/neon.h"
#include "kernels/product.h"
#include "kernels/product_testing.h"
#include "kernels/targets.h"

#include "hwy/highway.h"

namespace vlm::kernels {
namespace {

TEST(Cpu, KnowsTheWordsOfTheEnvironment) {
  EXPECT_EQ(level_of("off"), Level::off);
  EXPECT_EQ(level_of("avx2"), Level::avx2);
  EXPECT_EQ(level_of("avx-vnni"), Level::avx_vnni);
  EXPECT_EQ(level_of("best"), Level::best);
  for (const char* word : {"", "avx512", "AVX2", "none"}) EXPECT_EQ(level_of(word), std::nullopt);
}

TEST(Cpu, TargetsHaveNamesOfTheirOwnAndCanBeChosen) {
  const std::vector<int64_t> targets = usable_targets();
  std::set<std::string> names;
  for (int64_t target : targets) {
    EXPECT_TRUE(names.insert(target_name(target)).second) << target_name(target);
    EXPECT_NE(kernels_description().find(target_name(target)), std::string::npos) << target_name(target);
    use_only_target(target);
    EXPECT_EQ(chosen_target(), target);
  }
  use_only_target(0);
  EXPECT_EQ(chosen_target(), targets.front());
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

#if HWY_ARCH_ARM_A64

TEST(Cpu, FindsWhatTheEmulatedProcessorHas) {
  const char* wanted = std::getenv("VLM_TEST_TARGETS");
  if (!wanted) GTEST_SKIP() << "tests/arm.sh says which processor it is";
  std::string found;
  for (int64_t target : usable_targets()) found += (found.empty() ? "" : " ") + target_name(target);
  EXPECT_EQ(found, wanted);
  EXPECT_EQ(chosen_target(), usable_targets().front());
  EXPECT_EQ(kernels_description(),
            target_name(chosen_target()) + " (compiled: NEON_I8MM, NEON_DOTPROD, NEON)");
}

// Each target has instructions of its own: where they are missing, they kill.
TEST(CpuDeathTest, TargetsRunWhereTheirInstructionsAre) {
  const Floats numbers = Floats::random(9 * 64, 1);
  const Memory memory = quantised(numbers, 8, 4, 64);
  Floats y(9 * 4);
  const Product product{numbers.data(), 64, y.data(), 4, 9, nullptr};
  const std::vector<int64_t> usable = usable_targets();
  struct {
    decltype(&many_rows_quantised) kernel;
    int64_t target;
  } const cases[] = {{many_rows_quantised, kNeonI8mm},
                     {many_rows_quantised, kNeonDotProd},
                     {few_rows_quantised, kNeonDotProd}};
  for (const auto& [kernel, target] : cases) {
    SCOPED_TRACE(target_name(target));
    const auto run = [&, &kernel = kernel, &target = target] {
      use_only_target(target);
      kernel(product, memory.view);
      std::exit(0);
    };
    if (std::find(usable.begin(), usable.end(), target) != usable.end()) {
      EXPECT_EXIT(run(), testing::ExitedWithCode(0), "");
    } else {
      EXPECT_EXIT(run(), testing::KilledBySignal(SIGILL), "");
    }
  }
}

#endif

}  // namespace
}  // namespace vlm::kernels
