// How products of many rows with quantised weights add up a group of 32 inputs, by instruction set. Included
// once for each.
#if defined(VLM_KERNELS_ARITHMETIC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_ARITHMETIC_INL_H_
#undef VLM_KERNELS_ARITHMETIC_INL_H_
#else
#define VLM_KERNELS_ARITHMETIC_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/cpu.h"
#include "kernels/neon.h"
#include "kernels/quantised.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using DFloat = hn::CappedTag<float, 16>;
using DInt = hn::RebindToSigned<DFloat>;
using VInt = hn::Vec<DInt>;
using VFloat = hn::Vec<DFloat>;
constexpr int kLanes = HWY_MIN(HWY_LANES(float), 16);
// A micro-tile has at least two vectors of columns, so that loading x once serves two products.
constexpr int kPanelVectors = static_cast<int>(kTileRows) / kLanes;
constexpr int kPanelsAtOnce = kLanes == 16 ? 2 : 1;
constexpr int kVectors = kPanelVectors * kPanelsAtOnce;
// AVX2: 6 x 2 sums, 2 vectors of W, 1 of x and 1 product fill the 16 registers. AVX-512: 12 sums in 32-bit
// integers and 12 in float, of 32 registers.
constexpr int kHeight = 6;

// Whether many rows are rotated whatever the matrix is kept as (kernels/product.h).
template <int64_t kTarget>
constexpr bool kRotatesAll = kTarget == kAvxVnni;

// How a group multiplies: x and W lie as 32-bit pieces of four inputs, or as kParts pieces of two. AddPiece
// adds the products of one piece of x with the pieces of 16 columns. Where kTakesBytes, W's values may be any
// of 8 bits, so that 4-bit ones can bring their minimums along. kOffset is what these are moved up by, to be
// bytes without sign; sums start at what that adds. Where kInPairs, AddGroup takes the place of AddPiece:
// pieces of eight inputs of two rows, or of two columns, lie side by side.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

// 8 bits: both widened to 16, where sums of two products are exact. 4 bits: the 16 products of a group that
// share 16 bits are at most 15 * 127 each, 30480 together.
#if HWY_TARGET == HWY_AVX2
// In assembler because 12 sums, 2 vectors of W and 2 temporaries take all 16 registers, which GCC 12 does not
// manage from intrinsics: it spills half of the sums in the inner loop, which takes 1.6 times as long. So it
// is below, where it also copies every sum before and after its intrinsic.
#define VLM_ADD_PIECE(multiply, add)                                                                       \
  __m256i piece, product;                                                                                  \
  asm("vpbroadcastd %[x], %[piece]\n\t" multiply " %[piece], %[w0], %[product]\n\t" multiply               \
      " %[piece], %[w1], %[piece]\n\t" add " %[product], %[sum0], %[sum0]\n\t" add                         \
      " %[piece], %[sum1], %[sum1]"                                                                        \
      : [sum0] "+x"(sums[0].raw), [sum1] "+x"(sums[1].raw), [piece] "=&x"(piece), [product] "=&x"(product) \
      : [w0] "x"(w[0].raw), [w1] "x"(w[1].raw), [x] "m"(*x))
#endif

template <int64_t kTarget, int kBits>
struct Arithmetic {
  static constexpr int kParts = kBits == 8 ? 2 : 1;
  static constexpr int kOffset = 0;
  static constexpr bool kTakesBytes = kBits == 8, kInPairs = false;
  static HWY_INLINE void AddPiece(VInt (&sums)[kVectors], const VInt (&w)[kVectors], const int32_t* x) {
#if HWY_TARGET == HWY_AVX2
    if constexpr (kBits == 8) {
      VLM_ADD_PIECE("vpmaddwd", "vpaddd");
    } else {
      VLM_ADD_PIECE("vpmaddubsw", "vpaddw");
    }
#else
    const __m512i piece = _mm512_set1_epi32(*x);
#pragma GCC unroll 2
    for (int vector = 0; vector < kVectors; ++vector)
      if constexpr (kBits == 8)
        sums[vector].raw = _mm512_add_epi32(sums[vector].raw, _mm512_madd_epi16(w[vector].raw, piece));
      else
        sums[vector].raw = _mm512_add_epi16(sums[vector].raw, _mm512_maddubs_epi16(w[vector].raw, piece));
#endif
  }
};

#if HWY_TARGET == HWY_AVX2

template <int kBits>
struct Arithmetic<kAvxVnni, kBits> {
  static constexpr int kParts = 1, kOffset = 128;
  static constexpr bool kTakesBytes = true, kInPairs = false;
  static HWY_INLINE void AddPiece(VInt (&sums)[kVectors], const VInt (&w)[kVectors], const int32_t* x) {
    __m256i piece;
    asm("vpbroadcastd %[x], %[piece]\n\t"
        "%{vex%} vpdpbusd %[piece], %[w0], %[sum0]\n\t"
        "%{vex%} vpdpbusd %[piece], %[w1], %[sum1]"
        : [sum0] "+x"(sums[0].raw), [sum1] "+x"(sums[1].raw), [piece] "=&x"(piece)
        : [w0] "x"(w[0].raw), [w1] "x"(w[1].raw), [x] "m"(*x));
  }
};

#endif

#else

template <int64_t kTarget, int kBits>
struct Arithmetic {
  static constexpr int kParts = 1, kOffset = 0;
  static constexpr bool kTakesBytes = true, kInPairs = false;
  static HWY_INLINE void AddPiece(VInt (&sums)[kVectors], const VInt (&w)[kVectors], const int32_t* x) {
    const DInt d;
    for (int byte = 0; byte < 4; ++byte) {
      auto take = [&](VInt v) { return hn::ShiftRight<24>(hn::ShiftLeftSame(v, 24 - 8 * byte)); };
      for (int vector = 0; vector < kVectors; ++vector)
        sums[vector] = hn::Add(sums[vector], hn::Mul(take(w[vector]), take(hn::Set(d, *x))));
    }
  }
};

#if HWY_ARCH_ARM_A64

template <int kBits>
struct Arithmetic<kNeonDotProd, kBits> {
  static constexpr int kParts = 1, kOffset = 0;
  static constexpr bool kTakesBytes = true, kInPairs = false;
  static HWY_INLINE void AddPiece(VInt (&sums)[kVectors], const VInt (&w)[kVectors], const int32_t* x) {
    const int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(*x));
#pragma GCC unroll 4
    for (int vector = 0; vector < kVectors; ++vector)
      sums[vector].raw = add_dots(sums[vector].raw, vreinterpretq_s8_s32(w[vector].raw), four);
  }
};

// One instruction multiplies eight inputs of two rows by those of two columns: 24 of them, of three pairs of
// rows and eight of columns, add up in 24 registers.
template <int kBits>
struct Arithmetic<kNeonI8mm, kBits> {
  static constexpr int kParts = 1, kOffset = 0;
  static constexpr bool kTakesBytes = true, kInPairs = true;
  // Of four inputs of 16 columns, and of the next four: eight of two columns.
  static HWY_INLINE void PairColumns(int32_t* pieces) {
    for (int octet = 0; octet < 4; ++octet, pieces += 2 * kTileRows) {
      int32x4x2_t pairs[kVectors];
#pragma GCC unroll 4
      for (int vector = 0; vector < kVectors; ++vector)
        pairs[vector] = vzipq_s32(vld1q_s32(pieces + vector * 4), vld1q_s32(pieces + kTileRows + vector * 4));
#pragma GCC unroll 4
      for (int vector = 0; vector < kVectors; ++vector) {
        vst1q_s32(pieces + vector * 8, pairs[vector].val[0]);
        vst1q_s32(pieces + vector * 8 + 4, pairs[vector].val[1]);
      }
    }
  }
  static HWY_INLINE void AddGroup(VInt (&sums)[kHeight][kVectors], const int32_t* w, const int32_t* x) {
    int32x4_t pairs[kHeight / 2][2 * kVectors];
#pragma GCC unroll 16
    for (auto& row : pairs)
#pragma GCC unroll 16
      for (int32x4_t& pair : row) pair = vdupq_n_s32(0);
#pragma GCC unroll 4
    for (int octet = 0; octet < 4; ++octet) {
      int8x16_t rows[kHeight / 2];
#pragma GCC unroll 4
      for (int row = 0; row < kHeight / 2; ++row)
        rows[row] = vreinterpretq_s8_s32(vld1q_s32(x + row * 16 + octet * 4));
#pragma GCC unroll 16
      for (int column = 0; column < 2 * kVectors; ++column) {
        const int8x16_t columns = vreinterpretq_s8_s32(vld1q_s32(w + octet * 2 * kTileRows + column * 4));
#pragma GCC unroll 4
        for (int row = 0; row < kHeight / 2; ++row)
          pairs[row][column] = add_squares(pairs[row][column], rows[row], columns);
      }
    }
    // Two by two outputs come apart into rows.
#pragma GCC unroll 16
    for (int row = 0; row < kHeight; ++row)
#pragma GCC unroll 16
      for (int vector = 0; vector < kVectors; ++vector) {
        const int64x2_t left = vreinterpretq_s64_s32(pairs[row / 2][2 * vector]);
        const int64x2_t right = vreinterpretq_s64_s32(pairs[row / 2][2 * vector + 1]);
        const int64x2_t line = row % 2 == 0 ? vuzp1q_s64(left, right) : vuzp2q_s64(left, right);
        sums[row][vector].raw = vreinterpretq_s32_s64(line);
      }
  }
};

#endif

#endif

// Sums of a group as 32-bit integers.
template <int64_t kTarget, int kBits>
HWY_INLINE VInt Finish(VInt sum) {
#if HWY_TARGET == HWY_AVX2
  if (kBits == 4 && kTarget != kAvxVnni) sum.raw = _mm256_madd_epi16(sum.raw, _mm256_set1_epi16(1));
#elif HWY_TARGET == HWY_AVX3
  if (kBits == 4) sum.raw = _mm512_madd_epi16(sum.raw, _mm512_set1_epi16(1));
#endif
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();
#undef VLM_ADD_PIECE

#endif
