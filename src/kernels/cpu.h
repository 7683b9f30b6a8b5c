// Which instruction sets the kernels were compiled for, and which one is used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vlm::kernels {

// VLM_KERNELS in the environment: "off" (callers use plain tensor expressions), "avx2" (nothing better than
// AVX2), "best" (default). Read once, before the first kernel runs; any other word is warned of and means
// "best".
enum class Level { off, avx2, best };
Level level_from_environment();
std::optional<Level> level_of(std::string_view word);

// Of this machine, best first; every one of them computes the same function. Highway's, and on ARM those of
// kernels/neon.h. For tests.
std::vector<int64_t> usable_targets();
std::string target_name(int64_t target);
void use_only_target(int64_t target);  // 0: back to the best

// "AVX3_DL with AMX (compiled: AVX3_DL, AVX3, AVX2, SCALAR)", "NEON_DOTPROD (compiled: NEON_I8MM,
// NEON_DOTPROD, NEON)".
std::string kernels_description();

}  // namespace vlm::kernels
