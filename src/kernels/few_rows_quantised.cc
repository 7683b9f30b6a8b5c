#include "kernels/cpu.h"
#include "kernels/massive.h"
#include "kernels/neon.h"
#include "kernels/product.h"
#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/few_rows_quantised.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/group-inl.h"

// Highway 1.0.3 knows the CPUs with VNNI as AVX3_DL but does not let the compiler use it.
#if HWY_TARGET == HWY_AVX3_DL
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
#else
HWY_BEFORE_NAMESPACE();
#endif
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

// AVX-512 without VNNI works on half vectors: it has no 8-bit sign operation.
using DFloat = hn::CappedTag<float, HWY_TARGET == HWY_AVX3 ? 8 : 16>;
using DInt = hn::RebindToSigned<DFloat>;
using VInt = hn::Vec<DInt>;
using VFloat = hn::Vec<DFloat>;
constexpr int kLanes = HWY_MIN(HWY_LANES(float), HWY_TARGET == HWY_AVX3 ? 8 : 16);
constexpr int kVectors = static_cast<int>(kTileRows) / kLanes;  // in one column of a tile

// Rounded activations of the few rows.
struct Activations {
  const int8_t* quants;   // [groups, rows, 32]
  const float* scales;    // [groups, rows]
  const int32_t* starts;  // [groups, rows], what sums start at: -kOffset times the sum of the quants
  const float* sums;      // [groups, rows], of the quants: what a minimum is multiplied by
  int64_t rows;
};

// vpdpbusd multiplies unsigned by signed: 8-bit weights are moved up by 128, and the sums of the activations
// take that away again.
template <int64_t kTarget, int kBits>
constexpr int kOffset = (kTarget == HWY_AVX3_DL || kTarget == kAvxVnni) && kBits == 8 ? 128 : 0;

#if HWY_TARGET == HWY_AVX3_DL

// In assembler because GCC 12 copies every sum before and after its intrinsic, and takes a register for x.
HWY_INLINE void AddQuad(VInt& sum, __m512i w, const int8_t* x) {
  asm("vpdpbusd %[x]%{1to16%}, %[w], %[sum]"
      : [sum] "+v"(sum.raw)
      : [w] "v"(w), [x] "m"(*reinterpret_cast<const int32_t*>(x)));
}

// Two sums for each row, of every other quad: with one, each product would wait for the one before.
template <int64_t kTarget, int kBits, int kRows>
HWY_INLINE void AddGroup(const uint8_t* quants, const int8_t* x, VInt (&sums)[kRows][kVectors]) {
  VInt others[kRows];
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row) others[row] = hn::Zero(DInt());
#pragma GCC unroll 4
  for (int pair = 0; pair < 4; ++pair) {
    __m512i even, odd;  // the odd quads of 4 bits stay in the high halves: 16 times what they are
    if constexpr (kBits == 8) {
      even = _mm512_xor_si512(_mm512_loadu_si512(quants + pair * 128), _mm512_set1_epi8(-128));
      odd = _mm512_xor_si512(_mm512_loadu_si512(quants + pair * 128 + 64), _mm512_set1_epi8(-128));
    } else {
      __m512i both = _mm512_loadu_si512(quants + pair * 64);
      asm("" : "+v"(both));  // loaded once, not once for each half
      even = _mm512_and_si512(both, _mm512_set1_epi8(15));
      odd = _mm512_and_si512(both, _mm512_set1_epi8(-16));
    }
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row) {
      AddQuad(sums[row][0], even, x + row * kGroup + pair * 8);
      AddQuad(others[row], odd, x + row * kGroup + pair * 8 + 4);
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < kRows; ++row)
    sums[row][0] = hn::Add(sums[row][0], kBits == 8 ? others[row] : hn::ShiftRight<4>(others[row]));
}

#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

// vpmaddubsw adds two products in 16 bits. 8 bits: |w| x (x with the sign of w) is at most 2 * 128 * 127 =
// 32512. 4 bits: 16 products of at most 15 * 127 make 30480, so a whole group adds up in 16 bits.
// In assembler because GCC 12 keeps neither the sums in registers nor the broadcast for both vectors.
template <int kBits>
HWY_INLINE void AddQuad(VInt (&sums)[kVectors], __m256i w0, __m256i w1, __m256i magnitude0,
                        __m256i magnitude1, const int8_t* x) {
  __m256i four, product;
  const int32_t* quad = reinterpret_cast<const int32_t*>(x);
  if constexpr (kBits == 8) {
    const __m256i ones = _mm256_set1_epi16(1);
    asm("vpbroadcastd %[x], %[four]\n\t"
        "vpsignb %[w0], %[four], %[product]\n\t"
        "vpsignb %[w1], %[four], %[four]\n\t"
        "vpmaddubsw %[product], %[magnitude0], %[product]\n\t"
        "vpmaddubsw %[four], %[magnitude1], %[four]\n\t"
        "vpmaddwd %[product], %[ones], %[product]\n\t"
        "vpmaddwd %[four], %[ones], %[four]\n\t"
        "vpaddd %[product], %[sum0], %[sum0]\n\t"
        "vpaddd %[four], %[sum1], %[sum1]"
        : [sum0] "+x"(sums[0].raw), [sum1] "+x"(sums[1].raw), [four] "=&x"(four), [product] "=&x"(product)
        : [w0] "x"(w0), [w1] "x"(w1), [magnitude0] "x"(magnitude0), [magnitude1] "x"(magnitude1),
          [ones] "x"(ones), [x] "m"(*quad));
  } else {
    asm("vpbroadcastd %[x], %[four]\n\t"
        "vpmaddubsw %[four], %[w0], %[product]\n\t"
        "vpmaddubsw %[four], %[w1], %[four]\n\t"
        "vpaddw %[product], %[sum0], %[sum0]\n\t"
        "vpaddw %[four], %[sum1], %[sum1]"
        : [sum0] "+x"(sums[0].raw), [sum1] "+x"(sums[1].raw), [four] "=&x"(four), [product] "=&x"(product)
        : [w0] "x"(w0), [w1] "x"(w1), [x] "m"(*quad));
  }
}

template <int64_t kTarget, int kBits, int kRows>
HWY_INLINE void AddGroup(const uint8_t* quants, const int8_t* x, VInt (&sums)[kRows][kVectors]) {
  const __m256i* from = reinterpret_cast<const __m256i*>(quants);
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int quad = 0; quad < 8; ++quad) {
      __m256i w0 = _mm256_loadu_si256(from + quad * 2), w1 = _mm256_loadu_si256(from + quad * 2 + 1);
      __m256i magnitude0 = _mm256_abs_epi8(w0), magnitude1 = _mm256_abs_epi8(w1);
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row)
        AddQuad<8>(sums[row], w0, w1, magnitude0, magnitude1, x + row * kGroup + quad * 4);
    }
  } else {
    const __m256i mask = _mm256_set1_epi8(15);
#pragma GCC unroll 4
    for (int pair = 0; pair < 4; ++pair) {
      __m256i both0 = _mm256_loadu_si256(from + pair * 2), both1 = _mm256_loadu_si256(from + pair * 2 + 1);
      __m256i w0 = _mm256_and_si256(both0, mask), w1 = _mm256_and_si256(both1, mask);
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row)
        AddQuad<4>(sums[row], w0, w1, w0, w1, x + row * kGroup + pair * 8);
      w0 = _mm256_and_si256(_mm256_srli_epi16(both0, 4), mask);
      w1 = _mm256_and_si256(_mm256_srli_epi16(both1, 4), mask);
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row)
        AddQuad<4>(sums[row], w0, w1, w0, w1, x + row * kGroup + pair * 8 + 4);
    }
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 2
      for (int vector = 0; vector < 2; ++vector)
        sums[row][vector].raw = _mm256_madd_epi16(sums[row][vector].raw, _mm256_set1_epi16(1));
  }
}

#if HWY_TARGET == HWY_AVX2

// As above for AVX-512, with one sum for each row where registers are scarce.
HWY_INLINE void AddFour(VInt (&sums)[kVectors], __m256i w0, __m256i w1, const int8_t* x) {
  __m256i four;
  asm("vpbroadcastd %[x], %[four]\n\t"
      "%{vex%} vpdpbusd %[four], %[w0], %[sum0]\n\t"
      "%{vex%} vpdpbusd %[four], %[w1], %[sum1]"
      : [sum0] "+x"(sums[0].raw), [sum1] "+x"(sums[1].raw), [four] "=&x"(four)
      : [w0] "x"(w0), [w1] "x"(w1), [x] "m"(*reinterpret_cast<const int32_t*>(x)));
}

template <int64_t kTarget, int kBits, int kRows>
requires(kTarget == kAvxVnni) HWY_INLINE
    void AddGroup(const uint8_t* quants, const int8_t* x, VInt (&sums)[kRows][kVectors]) {
  constexpr bool kHasOthers = kRows <= 2;
  VInt others[kRows][kVectors];
  if constexpr (kHasOthers)
#pragma GCC unroll 2
    for (auto& row : others) row[0] = row[1] = hn::Zero(DInt());
  const __m256i* from = reinterpret_cast<const __m256i*>(quants);
#pragma GCC unroll 4
  for (int pair = 0; pair < 4; ++pair) {
    __m256i w[2][kVectors];  // of an even quad and of an odd one
#pragma GCC unroll 2
    for (int vector = 0; vector < kVectors; ++vector)
      if constexpr (kBits == 8) {
        const __m256i signs = _mm256_set1_epi8(-128);
        w[0][vector] = _mm256_xor_si256(_mm256_loadu_si256(from + pair * 4 + vector), signs);
        w[1][vector] = _mm256_xor_si256(_mm256_loadu_si256(from + pair * 4 + 2 + vector), signs);
      } else {
        const __m256i both = _mm256_loadu_si256(from + pair * 2 + vector), mask = _mm256_set1_epi8(15);
        w[0][vector] = _mm256_and_si256(both, mask);
        w[1][vector] = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
      }
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      const int8_t* at = x + row * kGroup + pair * 8;
      AddFour(sums[row], w[0][0], w[0][1], at);
      if constexpr (kHasOthers)
        AddFour(others[row], w[1][0], w[1][1], at + 4);
      else
        AddFour(sums[row], w[1][0], w[1][1], at + 4);
    }
  }
  if constexpr (kHasOthers)
#pragma GCC unroll 2
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 2
      for (int vector = 0; vector < kVectors; ++vector)
        sums[row][vector] = hn::Add(sums[row][vector], others[row][vector]);
}

#endif

#else

template <int64_t kTarget, int kBits, int kRows>
HWY_INLINE void AddGroup(const uint8_t* quants, const int8_t* x, VInt (&sums)[kRows][kVectors]) {
  int32_t totals[kRows][kTileRows] = {};
  for (int64_t k = 0; k < kGroup; ++k)
    for (int64_t col = 0; col < kTileRows; ++col) {
      int32_t w = kBits == 8 ? static_cast<int8_t>(quants[(k / 4 * kTileRows + col) * 4 + k % 4])
                             : quants[(k / 8 * kTileRows + col) * 4 + k % 4] >> (k % 8 / 4 * 4) & 15;
      for (int row = 0; row < kRows; ++row) totals[row][col] += w * x[row * kGroup + k];
    }
  for (int row = 0; row < kRows; ++row)
    for (int vector = 0; vector < kVectors; ++vector)
      sums[row][vector] = hn::LoadU(DInt(), totals[row] + vector * kLanes);
}

#if HWY_ARCH_ARM_A64

template <int64_t kTarget, int kBits, int kRows>
requires(kTarget == kNeonDotProd) HWY_INLINE
    void AddGroup(const uint8_t* quants, const int8_t* x, VInt (&sums)[kRows][kVectors]) {
  auto add = [&](uint8x16_t w, int vector, int64_t quad) {
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      const int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(Quad(x + row * kGroup + quad * 4)));
      sums[row][vector].raw = add_dots(sums[row][vector].raw, vreinterpretq_s8_u8(w), four);
    }
  };
  for (int64_t piece = 0; piece < kBits; ++piece)  // 64 bytes: one quad of 8 bits or two of 4
#pragma GCC unroll 4
    for (int vector = 0; vector < kVectors; ++vector) {
      const uint8x16_t w = vld1q_u8(quants + piece * 64 + vector * 16);
      if constexpr (kBits == 8) {
        add(w, vector, piece);
      } else {
        add(vandq_u8(w, vdupq_n_u8(15)), vector, 2 * piece);
        add(vshrq_n_u8(w, 4), vector, 2 * piece + 1);
      }
    }
}

#endif

#endif

HWY_INLINE VFloat LoadHalf(const uint8_t* from) {
  return hn::PromoteTo(DFloat(), hn::LoadU(hn::Rebind<hwy::float16_t, DFloat>(),
                                           reinterpret_cast<const hwy::float16_t*>(from)));
}

// Arithmetic takes as long as reading, and the two overlap only when weights are asked for this far ahead,
// into the second-level cache: the first is full of x. But with one row AMD's prefetchers keep the stream of
// weights flowing, and software's only cost time.
constexpr int64_t kAhead = 8192;

// What a kernel must know of a matrix when it is compiled.
template <int kBitsOf, bool kHasMinimums, bool kIsRotated>
struct Kind {
  static constexpr int kBits = kBitsOf;
  static constexpr bool kMinimums = kHasMinimums, kRotated = kIsRotated;
};

// 16 outputs of kRows rows.
template <int64_t kTarget, class Kind, int kRows>
void Tile(const QuantisedMatrix& weight, int64_t tile, const Activations& x, int64_t first_row,
          const Product& product) {
  constexpr int kBits = Kind::kBits;
  constexpr bool kMinimums = Kind::kMinimums;
  const DFloat d;
  VFloat totals[kRows][kVectors];
  for (int row = 0; row < kRows; ++row)
    for (int vector = 0; vector < kVectors; ++vector) totals[row][vector] = hn::Zero(d);

  const uint8_t* quants = weight.quants(tile, 0);
  const int64_t groups = weight.groups();
  constexpr int64_t kQuantBytes = kGroup * kTileRows * kBits / 8;
  constexpr int64_t kHalvesBytes = kTileRows * 2 * (kMinimums ? 2 : 1);
  const bool asks_ahead = kRows > 1 || !is_amd();
  int64_t at = first_row;
  for (int64_t first = 0; first < groups; first += Kind::kRotated ? kGroupsOfLong : 1) {
    // Groups that share scales.
    const int64_t count = Kind::kRotated ? HWY_MIN(kGroupsOfLong, groups - first) : 1;
    const uint8_t* halves = quants + count * kQuantBytes;
    VFloat scales[kVectors], minimums[kVectors];
#pragma GCC unroll 16
    for (int vector = 0; vector < kVectors; ++vector) {
      scales[vector] = LoadHalf(halves + vector * kLanes * 2);
      minimums[vector] = hn::Zero(d);
      if (kMinimums) minimums[vector] = LoadHalf(halves + 2 * kTileRows + vector * kLanes * 2);
    }
    for (int64_t group = 0; group < count; ++group, quants += kQuantBytes, at += x.rows) {
      if (asks_ahead) {
        constexpr int64_t kBytes = kQuantBytes + (Kind::kRotated ? 0 : kHalvesBytes);
#pragma GCC unroll 16
        for (int64_t byte = 0; byte < kBytes; byte += 64) __builtin_prefetch(quants + kAhead + byte, 0, 2);
      }
      VInt sums[kRows][kVectors];
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 16
        for (int vector = 0; vector < kVectors; ++vector)
          sums[row][vector] =
              kOffset<kTarget, kBits> != 0 ? hn::Set(DInt(), x.starts[at + row]) : hn::Zero(DInt());
      AddGroup<kTarget, kBits, kRows>(quants, x.quants + at * kGroup, sums);
#pragma GCC unroll 16
      for (int vector = 0; vector < kVectors; ++vector) {
#pragma GCC unroll 8
        for (int row = 0; row < kRows; ++row) {
          VFloat value = hn::ConvertTo(d, sums[row][vector]);
          if (kMinimums) value = hn::MulAdd(minimums[vector], hn::Set(d, x.sums[at + row]), value);
          value = hn::Mul(value, scales[vector]);
          totals[row][vector] = hn::MulAdd(value, hn::Set(d, x.scales[at + row]), totals[row][vector]);
        }
      }
    }
    quants += kHalvesBytes;
  }

  const int64_t first = tile * kTileRows, valid = HWY_MIN(kTileRows, weight.out - first);
  for (int row = 0; row < kRows; ++row) {
    HWY_ALIGN float values[kTileRows];
    for (int vector = 0; vector < kVectors; ++vector)
      hn::StoreU(totals[row][vector], d, values + vector * kLanes);
    float* y = product.y + (first_row + row) * product.y_stride + first;
    const float* bias = product.bias ? product.bias + first : nullptr;
    for (int64_t col = 0; col < valid; ++col)
      y[col] = values[col] * weight.row_scales[first + col] + (bias ? bias[col] : 0.0f);
  }
}

// So many rows at a time that their sums fit the registers: 4 of AVX2's 16, 8 of AVX-512's 32. A tile stays
// in the second-level cache for the next.
constexpr int kRowsAtOnce = HWY_TARGET == HWY_AVX3_DL ? 8 : 4;

template <int64_t kTarget, class Kind, int kRows = kRowsAtOnce>
void Rows(const QuantisedMatrix& weight, int64_t tile, const Activations& x, int64_t row,
          const Product& product) {
  const int64_t left = product.rows - row;
  if constexpr (kRows > 1)
    if (left < kRows) return Rows<kTarget, Kind, kRows - 1>(weight, tile, x, row, product);
  Tile<kTarget, Kind, kRows>(weight, tile, x, row, product);
  if (left > kRows) Rows<kTarget, Kind>(weight, tile, x, row + kRows, product);
}

template <int64_t kTarget>
void Run(std::span<const QuantisedProduct> products) {
  const Product& first = products.front().product;
  const QuantisedMatrix& shape = *products.front().weight;
  const int64_t groups = shape.groups(), rows = first.rows, count = rows * groups;
  static thread_local Scratch scratch;
  static thread_local std::vector<Massive> massive;
  float* scales = scratch.get<float>(3 * count + count * kGroup / 4 + rows);
  int32_t* starts = reinterpret_cast<int32_t*>(scales + count);
  float* sums = reinterpret_cast<float*>(starts + count);
  int8_t* quants = reinterpret_cast<int8_t*>(sums + count);
  float* above = reinterpret_cast<float*>(quants + count * kGroup);
  massive.clear();
  if (shape.is_rotated) find_massive(first, shape.in, above, massive);
  const int32_t offset = shape.bits == 8 ? kOffset<kTarget, 8> : kOffset<kTarget, 4>;
  for_each_balanced(long_groups_of(shape.in), 8 * rows * shape.in, [=](int64_t part) {
    HWY_ALIGN float buffer[kLongGroup];
    const int64_t first_group = part * kGroupsOfLong,
                  last_group = HWY_MIN(first_group + kGroupsOfLong, groups);
    for (int64_t row = 0; row < rows; ++row) {
      const LongGroup from = LongGroupOf(first.x + row * first.x_stride, part, shape.in,
                                         shape.is_rotated ? above + row : nullptr, buffer);
      for (int64_t group = first_group; group < last_group; ++group) {
        const int64_t idx = group * rows + row;
        const RoundedGroup rounded =
            RoundActivations(from.x, (group - first_group) * kGroup, from.count, quants + idx * kGroup);
        scales[idx] = rounded.scale;
        starts[idx] = -offset * rounded.sum;
        sums[idx] = static_cast<float>(rounded.sum);
      }
    }
  });
  const Activations x{quants, scales, starts, sums, rows};
  int64_t tiles = 0, out = 0;
  for (const QuantisedProduct& one : products) tiles += one.weight->tiles(), out += one.weight->out;
  for_each_in_runs(tiles, 2 * rows * out * shape.in, [&](int64_t tile) {
    const QuantisedProduct* one = products.data();
    for (; tile >= one->weight->tiles(); ++one) tile -= one->weight->tiles();
    const QuantisedMatrix& weight = *one->weight;
    const Product& product = one->product;
    auto run = [&](auto kind) { Rows<kTarget, decltype(kind)>(weight, tile, x, 0, product); };
    if (weight.is_rotated) return run(Kind<8, false, true>());
    if (weight.bits == 8)
      return weight.has_minimums ? run(Kind<8, true, false>()) : run(Kind<8, false, false>());
    weight.has_minimums ? run(Kind<4, true, false>()) : run(Kind<4, false, false>());
  });
  for (const auto& [product, weight] : products) {
    add_massive(massive, product, *weight);
    if (product.has_function()) apply(product.function_of_sums(0, 0, rows, weight->out));
  }
}

void FewRowsQuantised(std::span<const QuantisedProduct> products) {
#if HWY_ARCH_ARM_A64
  if (chosen_target() != HWY_NEON) return Run<kNeonDotProd>(products);
#endif
#if HWY_TARGET == HWY_AVX2
  if (chosen_target() == kAvxVnni) return Run<kAvxVnni>(products);
#endif
  Run<HWY_TARGET>(products);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(FewRowsQuantised);

void few_rows_quantised_together(std::span<const QuantisedProduct> products) {
  HWY_DYNAMIC_DISPATCH(FewRowsQuantised)(products);
}

void few_rows_quantised(const Product& product, const QuantisedMatrix& weight) {
  const QuantisedProduct one{product, &weight};
  few_rows_quantised_together({&one, 1});
}

}  // namespace vlm::kernels
#endif
