// What every kernel file includes before Highway: the instruction sets that kernels are compiled for.
#pragma once

// x86: AVX2, AVX-512, AVX-512 with VNNI, and scalar code for everything older: SSE-only machines are not
// worth a build. ARM: NEON, whose 8-bit products are chosen in kernels/neon.h; SVE's vectors of unknown
// length cannot stand in arrays, which the sums of products are.
#define HWY_WANT_AVX3_DL
// That scalar code takes one number at a time. Otherwise it depends on the compiler whether Highway puts
// vectors of 128 bits in plain code in its place, which add up in another order.
#define HWY_BROKEN_EMU128 1
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
