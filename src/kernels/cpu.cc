#include "kernels/cpu.h"

#include <cstdlib>

#include "base/log.h"
#include "kernels/targets.h"

#include "hwy/highway.h"

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

#if (HWY_TARGETS & (HWY_TARGETS - 1)) == 0  // one instruction set: nothing to choose, libhwy is not needed

std::vector<int64_t> usable_targets() {
  return {HWY_TARGETS};
}
void use_only_target(int64_t /*target*/) {}

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
  return hwy::TargetName(target);
}

std::string kernels_description() {
  std::string compiled;
  for (int64_t targets = HWY_TARGETS; targets != 0; targets &= targets - 1)
    compiled += (compiled.empty() ? "" : ", ") + target_name(targets & -targets);
  bool is_off = level_from_environment() == Level::off;
  return (is_off ? "off" : target_name(usable_targets().front())) + " (compiled: " + compiled + ")";
}

}  // namespace vlm::kernels
