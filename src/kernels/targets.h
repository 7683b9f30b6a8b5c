// What every kernel file includes before Highway: the instruction sets that kernels are compiled for.
#pragma once

// AVX2, AVX-512, AVX-512 with VNNI, and scalar code for everything older: SSE-only machines are not worth a
// build.
#define HWY_WANT_AVX3_DL
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
