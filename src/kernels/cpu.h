// Which instruction sets the kernels were compiled for, and which one is used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vlm::kernels {

// VLM_KERNELS in the environment: "off" (callers use plain tensor expressions), "avx2" (nothing better than
// AVX2), "avx-vnni" (nothing better than AVX2 with products of bytes), "best" (default). Read once, before
// the first kernel runs; any other word is warned of and means "best".
enum class Level { off, avx2, avx_vnni, best };
Level level_from_environment();
std::optional<Level> level_of(std::string_view word);

// Instructions that not every processor of one of Highway's targets has are targets of their own beside it,
// with bits that Highway leaves free: kernels that use them ask chosen_target().
constexpr int64_t kAvx512Pairs = 1LL << 6;  // AVX3_DL with products of bfloat16 pairs
constexpr int64_t kAvxVnni = 1LL << 10;     // AVX2 with products of bytes (AVX-VNNI)
constexpr int64_t kNeonI8mm = 1LL << 22;    // NEON with dot products and with matrix products of bytes
constexpr int64_t kNeonDotProd = 1LL << 23;

// Of this machine, best first; every one of them computes the same function. For tests.
std::vector<int64_t> usable_targets();
std::string target_name(int64_t target);
void use_only_target(int64_t target);  // 0: back to the best
int64_t chosen_target();               // that one, or the best

// AMD's processors multiply pairs of bfloat16 twice as fast as float32, Intel's (Emerald Rapids, measured)
// half as fast; and AMD's follow one stream of memory without being told, where Intel's gain a third.
bool is_amd();

int64_t second_level_cache_bytes();  // of a core; 0: not known

// "AVX3_DL with AMX (compiled: AVX3_BF16, AVX3_DL, AVX3, AVX2_VNNI, AVX2, SCALAR)", "NEON_DOTPROD (compiled:
// NEON_I8MM, NEON_DOTPROD, NEON)".
std::string kernels_description();

}  // namespace vlm::kernels
