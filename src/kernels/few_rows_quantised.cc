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
  const int8_t* quants;  // [rows, in]
  const float* scales;   // [rows, groups]
  const int32_t* sums;   // [rows, groups]
  int64_t in;
  int64_t groups() const { return in / kGroup; }
};

#if HWY_TARGET == HWY_AVX3_DL

// vpdpbusd multiplies unsigned by signed: weights are moved up by 128, and the sums of the activations take
// that away again.
template <int kBits>
HWY_INLINE VInt StartValue(int32_t sum) {
  return hn::Set(DInt(), kBits == 8 ? -128 * sum : 0);
}

// In assembler because GCC 12 copies every sum before and after its intrinsic, and takes a register for x.
HWY_INLINE void AddQuad(VInt& sum, __m512i w, const int8_t* x) {
  asm("vpdpbusd %[x]%{1to16%}, %[w], %[sum]"
      : [sum] "+v"(sum.raw)
      : [w] "v"(w), [x] "m"(*reinterpret_cast<const int32_t*>(x)));
}

template <int kBits, int kRows>
HWY_INLINE void AddGroup(const uint8_t* quants, const int8_t* x, int64_t x_stride,
                         VInt (&sums)[kRows][kVectors]) {
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int quad = 0; quad < 8; ++quad) {
      __m512i w = _mm512_xor_si512(_mm512_loadu_si512(quants + quad * 64), _mm512_set1_epi8(-128));
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) AddQuad(sums[row][0], w, x + row * x_stride + quad * 4);
    }
  } else {
#pragma GCC unroll 4
    for (int pair = 0; pair < 4; ++pair) {
      __m512i both = _mm512_loadu_si512(quants + pair * 64);
      __m512i low = _mm512_and_si512(both, _mm512_set1_epi8(15));
      __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), _mm512_set1_epi8(15));
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
        AddQuad(sums[row][0], low, x + row * x_stride + pair * 8);
        AddQuad(sums[row][0], high, x + row * x_stride + pair * 8 + 4);
      }
    }
  }
}

#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

template <int kBits>
HWY_INLINE VInt StartValue(int32_t /*sum*/) {
  return hn::Zero(DInt());
}

// vpmaddubsw adds two products in 16 bits. 8 bits: |w| x (x with the sign of w) is at most 2 * 128 * 127 =
// 32512. 4 bits: 16 products of at most 15 * 127 make 30480, so a whole group adds up in 16 bits.
template <int kBits, int kRows>
HWY_INLINE void AddGroup(const uint8_t* quants, const int8_t* x, int64_t x_stride,
                         VInt (&sums)[kRows][kVectors]) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i* from = reinterpret_cast<const __m256i*>(quants);
  if constexpr (kBits == 8) {
#pragma GCC unroll 2
    for (int quad = 0; quad < 8; ++quad) {
#pragma GCC unroll 2
      for (int vector = 0; vector < 2; ++vector) {
        __m256i w = _mm256_load_si256(from + quad * 2 + vector);
        __m256i magnitude = _mm256_abs_epi8(w);
#pragma GCC unroll 8
        for (int row = 0; row < kRows; ++row) {
          __m256i four = _mm256_set1_epi32(Quad(x + row * x_stride + quad * 4));
          __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(four, w));
          VInt& sum = sums[row][vector];
          sum.raw = _mm256_add_epi32(sum.raw, _mm256_madd_epi16(pairs, ones));
        }
      }
    }
  } else {
    const __m256i mask = _mm256_set1_epi8(15);
    __m256i pairs[kRows][2];
#pragma GCC unroll 4
    for (int pair = 0; pair < 4; ++pair) {
#pragma GCC unroll 2
      for (int vector = 0; vector < 2; ++vector) {
        __m256i both = _mm256_load_si256(from + pair * 2 + vector);
        __m256i low = _mm256_and_si256(both, mask);
        __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
#pragma GCC unroll 8
        for (int row = 0; row < kRows; ++row) {
          const int8_t* at = x + row * x_stride + pair * 8;
          __m256i sum = _mm256_add_epi16(_mm256_maddubs_epi16(low, _mm256_set1_epi32(Quad(at))),
                                         _mm256_maddubs_epi16(high, _mm256_set1_epi32(Quad(at + 4))));
          pairs[row][vector] = pair == 0 ? sum : _mm256_add_epi16(pairs[row][vector], sum);
        }
      }
    }
    for (int row = 0; row < kRows; ++row)
      for (int vector = 0; vector < 2; ++vector)
        sums[row][vector].raw = _mm256_madd_epi16(pairs[row][vector], ones);
  }
}

#else

template <int kBits>
HWY_INLINE VInt StartValue(int32_t /*sum*/) {
  return hn::Zero(DInt());
}

template <int kBits, int kRows>
HWY_INLINE void AddGroup(const uint8_t* quants, const int8_t* x, int64_t x_stride,
                         VInt (&sums)[kRows][kVectors]) {
  int32_t totals[kRows][kTileRows] = {};
  for (int64_t k = 0; k < kGroup; ++k)
    for (int64_t col = 0; col < kTileRows; ++col) {
      int32_t w = kBits == 8 ? static_cast<int8_t>(quants[(k / 4 * kTileRows + col) * 4 + k % 4])
                             : quants[(k / 8 * kTileRows + col) * 4 + k % 4] >> (k % 8 / 4 * 4) & 15;
      for (int row = 0; row < kRows; ++row) totals[row][col] += w * x[row * x_stride + k];
    }
  for (int row = 0; row < kRows; ++row)
    for (int vector = 0; vector < kVectors; ++vector)
      sums[row][vector] = hn::LoadU(DInt(), totals[row] + vector * kLanes);
}

#endif

HWY_INLINE VFloat LoadHalf(const uint8_t* from) {
  return hn::PromoteTo(DFloat(), hn::LoadU(hn::Rebind<hwy::float16_t, DFloat>(),
                                           reinterpret_cast<const hwy::float16_t*>(from)));
}

// How far ahead of its use memory is asked for: some 200 ns at 10 GB/s.
constexpr int64_t kAhead = 2048;

// 16 outputs of kRows rows.
template <int kBits, bool kMinimums, int kRows>
void Tile(const QuantisedMatrix& weight, int64_t tile, const Activations& x, const float* bias, float* y,
          int64_t y_stride) {
  const DFloat d;
  VFloat totals[kRows][kVectors];
  for (int row = 0; row < kRows; ++row)
    for (int vector = 0; vector < kVectors; ++vector) totals[row][vector] = hn::Zero(d);

  const uint8_t* block = weight.block(tile, 0);
  const int64_t groups = x.groups(), block_bytes = weight.block_bytes();
  constexpr int64_t kQuantBytes = kGroup * kTileRows * kBits / 8;
  for (int64_t group = 0; group < groups; ++group, block += block_bytes) {
    // The hardware's prefetchers stop at the end of a page.
    for (int64_t byte = 0; byte < block_bytes; byte += 64) __builtin_prefetch(block + kAhead + byte);
    VInt sums[kRows][kVectors];
#pragma GCC unroll 8
    for (int row = 0; row < kRows; ++row)
#pragma GCC unroll 16
      for (int vector = 0; vector < kVectors; ++vector)
        sums[row][vector] = StartValue<kBits>(x.sums[row * groups + group]);
    AddGroup<kBits, kRows>(block, x.quants + group * kGroup, x.in, sums);
#pragma GCC unroll 16
    for (int vector = 0; vector < kVectors; ++vector) {
      VFloat scale = LoadHalf(block + kQuantBytes + vector * kLanes * 2);
      VFloat minimum = hn::Zero(d);
      if (kMinimums) minimum = LoadHalf(block + kQuantBytes + 2 * kTileRows + vector * kLanes * 2);
#pragma GCC unroll 8
      for (int row = 0; row < kRows; ++row) {
        VFloat value = hn::Mul(hn::ConvertTo(d, sums[row][vector]), scale);
        if (kMinimums)
          value = hn::MulAdd(hn::Set(d, static_cast<float>(x.sums[row * groups + group])), minimum, value);
        totals[row][vector] =
            hn::MulAdd(value, hn::Set(d, x.scales[row * groups + group]), totals[row][vector]);
      }
    }
  }

  int64_t first = tile * kTileRows, valid = HWY_MIN(kTileRows, weight.out - first);
  for (int row = 0; row < kRows; ++row) {
    HWY_ALIGN float values[kTileRows];
    for (int vector = 0; vector < kVectors; ++vector)
      hn::StoreU(totals[row][vector], d, values + vector * kLanes);
    for (int64_t col = 0; col < valid; ++col)
      y[row * y_stride + first + col] =
          values[col] * weight.row_scales[first + col] + (bias ? bias[first + col] : 0.0f);
  }
}

template <int kBits, bool kMinimums>
void Rows(const QuantisedMatrix& weight, int64_t tile, Activations x, int64_t rows, const Product& product) {
  float* y = product.y;
  // Four rows at a time: their sums fill the 16 registers of AVX2. A tile stays in the second-level cache for
  // the next four.
  while (rows > 0) {
    int64_t now = HWY_MIN(rows, 4);
    switch (now) {
      case 1:
        Tile<kBits, kMinimums, 1>(weight, tile, x, product.bias, y, product.y_stride);
        break;
      case 2:
        Tile<kBits, kMinimums, 2>(weight, tile, x, product.bias, y, product.y_stride);
        break;
      case 3:
        Tile<kBits, kMinimums, 3>(weight, tile, x, product.bias, y, product.y_stride);
        break;
      default:
        Tile<kBits, kMinimums, 4>(weight, tile, x, product.bias, y, product.y_stride);
    }
    rows -= now;
    y += now * product.y_stride;
    x.quants += now * x.in;
    x.scales += now * x.groups();
    x.sums += now * x.groups();
  }
}

void FewRowsQuantised(const Product& product, const QuantisedMatrix& weight) {
  const int64_t groups = weight.groups(), count = product.rows * groups;
  static thread_local Scratch scratch;
  float* scales = scratch.get<float>(2 * count + count * kGroup / 4);
  int32_t* sums = reinterpret_cast<int32_t*>(scales + count);
  int8_t* quants = reinterpret_cast<int8_t*>(sums + count);
  for (int64_t idx = 0; idx < count; ++idx) {
    const float* from = product.x + idx / groups * product.x_stride + idx % groups * kGroup;
    RoundedGroup rounded = RoundActivations(from, quants + idx * kGroup);
    scales[idx] = rounded.scale;
    sums[idx] = rounded.sum;
  }
  Activations x{quants, scales, sums, weight.in};
  for_each_in_runs(weight.tiles(), 2 * product.rows * weight.out * weight.in, [&](int64_t tile) {
    if (weight.bits == 8 && weight.has_minimums) Rows<8, true>(weight, tile, x, product.rows, product);
    if (weight.bits == 8 && !weight.has_minimums) Rows<8, false>(weight, tile, x, product.rows, product);
    if (weight.bits == 4 && weight.has_minimums) Rows<4, true>(weight, tile, x, product.rows, product);
    if (weight.bits == 4 && !weight.has_minimums) Rows<4, false>(weight, tile, x, product.rows, product);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(FewRowsQuantised);

void few_rows_quantised(const Product& product, const QuantisedMatrix& weight) {
  HWY_DYNAMIC_DISPATCH(FewRowsQuantised)(product, weight);
}

}  // namespace vlm::kernels
#endif
