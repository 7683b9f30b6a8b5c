#include "kernels/cpu.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "base/log.h"
#include "kernels/targets.h"
#include "kernels/tiles.h"

#include "hwy/highway.h"
#if HWY_ARCH_ARM_A64
#include <sys/auxv.h>
#elif HWY_ARCH_X86
#include <cpuid.h>
#endif

namespace vlm::kernels {

std::optional<Level> level_of(std::string_view word) {
  if (word == "off") return Level::off;
  if (word == "avx2") return Level::avx2;
  if (word == "avx-vnni") return Level::avx_vnni;
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
          "VLM_KERNELS is \"{}\", which is none of off, avx2, avx-vnni and best: the best kernels are used. "
          "Set it to one of these, or unset it.",
          word);
#if HWY_ARCH_X86
    if (known == Level::avx2 || known == Level::avx_vnni) hwy::DisableTargets(HWY_AVX3 | HWY_AVX3_DL);
#endif
    return known.value_or(Level::best);
  }();
  return level;
}

namespace {

std::atomic<int64_t> only{0};

// Highway's target that has all but the instructions beside it.
int64_t base_of(int64_t target) {
  if (target == kAvx512Pairs) return HWY_AVX3_DL;
  if (target == kAvxVnni) return HWY_AVX2;
  if (target == kNeonDotProd || target == kNeonI8mm) return HWY_NEON;
  return target;
}

}  // namespace

#if HWY_ARCH_ARM_A64  // Highway has one target: there is nothing for it to choose, and libhwy is not needed

std::vector<int64_t> usable_targets() {
  const bool has_dots = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  std::vector<int64_t> targets{HWY_NEON};
  if (has_dots) targets.insert(targets.begin(), kNeonDotProd);
  if (has_dots && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0) targets.insert(targets.begin(), kNeonI8mm);
  return targets;
}

void use_only_target(int64_t target) {
  only = target;
}

#else

namespace {

bool has_avx_vnni() {
#if HWY_ARCH_X86
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & 1u << 4) != 0;
#else
  return false;
#endif
}

bool has_bfloat16_pairs() {
#if HWY_ARCH_X86
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace

std::vector<int64_t> usable_targets() {
  const Level level = level_from_environment();
  std::vector<int64_t> targets;
  for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const bool has_pairs = target == HWY_AVX3_DL && has_bfloat16_pairs();
    if (has_pairs && is_amd()) targets.push_back(kAvx512Pairs);
    if (target == HWY_AVX2 && level != Level::avx2 && has_avx_vnni()) targets.push_back(kAvxVnni);
    targets.push_back(target);
    if (has_pairs && !is_amd()) targets.push_back(kAvx512Pairs);
  }
  // Highway 1.0.3's question for the targets also chooses the best one, disabled or not.
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return targets;
}

void use_only_target(int64_t target) {
  only = target;
  hwy::SetSupportedTargetsForTest(base_of(target));
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

#endif

int64_t chosen_target() {
  static const int64_t best = usable_targets().front();
  const int64_t target = only;
  return target != 0 ? target : best;
}

bool is_amd() {
#if HWY_ARCH_X86
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

int64_t second_level_cache_bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  static const int64_t bytes = std::max<int64_t>(::sysconf(_SC_LEVEL2_CACHE_SIZE), 0);
  return bytes;
#else
  return 0;
#endif
}

std::string target_name(int64_t target) {
  if (target == kAvx512Pairs) return "AVX3_BF16";
  if (target == kAvxVnni) return "AVX2_VNNI";
  if (target == kNeonDotProd) return "NEON_DOTPROD";
  if (target == kNeonI8mm) return "NEON_I8MM";
  return hwy::TargetName(target);
}

std::string kernels_description() {
  std::string compiled;
  for (int64_t target : {kNeonI8mm, kNeonDotProd, int64_t{HWY_NEON}, kAvx512Pairs, int64_t{HWY_AVX3_DL},
                         int64_t{HWY_AVX3}, kAvxVnni, int64_t{HWY_AVX2}, int64_t{HWY_SCALAR}})
    if ((HWY_TARGETS & base_of(target)) != 0)
      compiled += (compiled.empty() ? "" : ", ") + target_name(target);
  if (level_from_environment() == Level::off) return "off (compiled: " + compiled + ")";
  const int64_t best = usable_targets().front();
  const bool has_tiles = base_of(best) == HWY_AVX3_DL && tile_use() == TileUse::machine;
  return target_name(best) + (has_tiles ? " with AMX" : "") + " (compiled: " + compiled + ")";
}

}  // namespace vlm::kernels
