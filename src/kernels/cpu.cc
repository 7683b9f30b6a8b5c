#include "kernels/cpu.h"

#include <atomic>
#include <cstdlib>

#include "base/log.h"
#include "kernels/neon.h"
#include "kernels/targets.h"
#include "kernels/tiles.h"

#include "hwy/highway.h"
#if HWY_ARCH_ARM_A64
#include <sys/auxv.h>
#endif

namespace vlm::kernels {

std::optional<Level> level_of(std::string_view word) {
  if (word == "off") return Level::off;
  if (word == "avx2") return Level::avx2;
  if (word == "best") return Level::best;
  return std::nullopt;
}

Level level_from_environment() {
  static const Level level = [] {
    const char* value = std::getenv("VLM_KERNELS");
    const std::string_view word = value && *value ? value : "best";
    const std::optional<Level> known = level_of(word);
    if (!known)
      log(LogLevel::warn,
          "VLM_KERNELS is \"{}\", which is none of off, avx2 and best: the best kernels are used. Set it to "
          "one of these, or unset it.",
          word);
#if HWY_ARCH_X86
    if (known == Level::avx2) hwy::DisableTargets(HWY_AVX3 | HWY_AVX3_DL);
#endif
    return known.value_or(Level::best);
  }();
  return level;
}

#if HWY_ARCH_ARM_A64  // Highway has one target: there is nothing for it to choose, and libhwy is not needed

namespace {
std::atomic<int64_t> only_neon{0};
}

std::vector<int64_t> usable_targets() {
  const bool has_dots = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  std::vector<int64_t> targets{HWY_NEON};
  if (has_dots) targets.insert(targets.begin(), kNeonDotProd);
  if (has_dots && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0) targets.insert(targets.begin(), kNeonI8mm);
  return targets;
}

void use_only_target(int64_t target) {
  only_neon = target;
}

int64_t chosen_neon() {
  static const int64_t best = usable_targets().front();
  const int64_t only = only_neon;
  return only != 0 ? only : best;
}

#else

std::vector<int64_t> usable_targets() {
  level_from_environment();
  std::vector<int64_t> targets = hwy::SupportedAndGeneratedTargets();
  // Highway 1.0.3's question for the targets also chooses the best one, disabled or not.
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return targets;
}

void use_only_target(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

#endif

std::string target_name(int64_t target) {
  if (target == kNeonDotProd) return "NEON_DOTPROD";
  if (target == kNeonI8mm) return "NEON_I8MM";
  return hwy::TargetName(target);
}

std::string kernels_description() {
  constexpr int64_t kCompiled = HWY_TARGETS | (HWY_ARCH_ARM_A64 ? kNeonI8mm | kNeonDotProd : 0);
  std::string compiled;
  for (int64_t targets = kCompiled; targets != 0; targets &= targets - 1)
    compiled += (compiled.empty() ? "" : ", ") + target_name(targets & -targets);
  if (level_from_environment() == Level::off) return "off (compiled: " + compiled + ")";
  const int64_t best = usable_targets().front();
  const bool has_tiles = best == HWY_AVX3_DL && tile_use() == TileUse::machine;
  return target_name(best) + (has_tiles ? " with AMX" : "") + " (compiled: " + compiled + ")";
}

}  // namespace vlm::kernels
