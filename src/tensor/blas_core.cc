#include "tensor/blas_core.h"

#include <dlfcn.h>
#include <sys/single_threaded.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>

namespace vlm {

namespace {

constexpr char kChoice[] = "OPENBLAS_CORETYPE";

// ref: OpenBLAS@v0.3.21 driver/others/dynamic.c, corename[]
constexpr std::string_view kCoresWithoutAvx[] = {
    "Unknown", "Katmai",       "Coppermine", "Northwood",  "Prescott", "Banias",
    "Atom",    "Core2",        "Penryn",     "Dunnington", "Nehalem",  "Athlon",
    "Opteron", "Opteron_SSE3", "Barcelona",  "Nano",       "Bobcat"};

template <typename Function>
Function* find(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
}

}  // namespace

VectorFeatures vector_features() {
  VectorFeatures features;
#ifdef __x86_64__
  features.has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  features.has_avx512 = features.has_avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
#endif
  return features;
}

const char* better_blas_core(std::string_view chosen, const VectorFeatures& features) {
  if (std::ranges::find(kCoresWithoutAvx, chosen) == std::end(kCoresWithoutAvx)) return nullptr;
  if (features.has_avx512) return "SkylakeX";
  return features.has_avx2 ? "Haswell" : nullptr;
}

bool use_better_blas_core() {
  if (std::getenv(kChoice) || !__libc_single_threaded) return false;
  auto* chosen = find<const char*()>("openblas_get_corename");
  auto* forget = find<void()>("gotoblas_dynamic_quit");
  auto* choose = find<void()>("gotoblas_dynamic_init");
  if (!chosen || !forget || !choose) return false;
  const char* better = better_blas_core(chosen(), vector_features());
  if (!better) return false;
  // The choice is a pointer to a table of kernels and block sizes, which every product reads anew; buffers
  // and threads are the same for all tables.
  ::setenv(kChoice, better, 1);
  forget();
  choose();
  ::unsetenv(kChoice);  // programs that this one starts may have an OpenBLAS that knows the processor
  return true;
}

}  // namespace vlm
