#include "kernels/roofs.h"

#include "kernels/cpu.h"
#include "kernels/neon.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/roofs.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

// As in many_rows_rotated.cc; CPUs with VNNI but without bfloat16 products do not get to the function that
// has them.
#if HWY_TARGET == HWY_AVX3_DL
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni,avx512bf16")
#else
HWY_BEFORE_NAMESPACE();
#endif
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using DFloat = hn::CappedTag<float, 16>;
constexpr int kLanes = HWY_MIN(HWY_LANES(float), 16);
// Sums that do not wait for each other: more than latency times ports (4 x 2), few enough for 16 registers.
constexpr int kSums = 12;

// Keeps a value in its register and the compiler ignorant of it, so that nothing moves out of the loop.
template <typename V>
HWY_INLINE void Hide(V& v) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  asm volatile("" : "+x"(v.raw));
#else
  asm volatile("" : : "m"(v) : "memory");
#endif
}

double MultiplyFloats(int64_t rounds) {
  const DFloat d;
  auto x = hn::Set(d, 0.999f), w = hn::Set(d, 1e-3f);
  hn::Vec<DFloat> sums[kSums];
  for (auto& sum : sums) sum = hn::Zero(d);
  for (int64_t round = 0; round < rounds; ++round) {
    Hide(x);
#pragma GCC unroll 16
    for (int idx = 0; idx < kSums; ++idx) sums[idx] = hn::MulAdd(sums[idx], x, w);
  }
  for (auto& sum : sums) Hide(sum);
  return 2.0 * kLanes * kSums * static_cast<double>(rounds);
}

#if HWY_TARGET == HWY_AVX3_DL

using Sum = __m512i;
constexpr int kOperations = 128;  // of an instruction on 64 pairs of bytes

HWY_INLINE Sum Start(int value) {
  return _mm512_set1_epi32(value);
}
HWY_INLINE void AddBytes(Sum& sum, Sum& x, const Sum& w) {
  sum = _mm512_dpbusd_epi32(sum, x, w);
}
HWY_INLINE void AddNibbles(Sum& sum, Sum& x, const Sum& w) {
  AddBytes(sum, x, w);
}

double MultiplyHalves(int64_t rounds) {
  if (chosen_target() != kAvx512Pairs) return 0;
  __m512bh x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3c003c00));
  __m512 sums[kSums] = {};
  for (auto& sum : sums) asm volatile("" : "+x"(sum));  // or equal sums would become one
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+x"(x));
#pragma GCC unroll 16
    for (int idx = 0; idx < kSums; ++idx) sums[idx] = _mm512_dpbf16_ps(sums[idx], x, x);
  }
  for (auto& sum : sums) asm volatile("" : "+x"(sum));
  return 64.0 * kSums * static_cast<double>(rounds);
}

#elif HWY_TARGET == HWY_AVX3

using Sum = __m512i;
constexpr int kOperations = 128;

HWY_INLINE Sum Start(int value) {
  return _mm512_set1_epi32(value);
}
HWY_INLINE void AddBytes(Sum& sum, Sum& x, const Sum& w) {
  asm volatile("" : "+x"(x));
  sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(x, w), _mm512_set1_epi16(1)));
}
HWY_INLINE void AddNibbles(Sum& sum, Sum& x, const Sum& w) {
  asm volatile("" : "+x"(x));
  sum = _mm512_add_epi16(sum, _mm512_maddubs_epi16(x, w));
}
double MultiplyHalves(int64_t) {
  return 0;
}

#elif HWY_TARGET == HWY_AVX2

using Sum = __m256i;
constexpr int kOperations = 64;

HWY_INLINE Sum Start(int value) {
  return _mm256_set1_epi32(value);
}
HWY_INLINE void AddBytes(Sum& sum, Sum& x, const Sum& w) {
  asm volatile("" : "+x"(x));
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), _mm256_set1_epi16(1)));
}
HWY_INLINE void AddNibbles(Sum& sum, Sum& x, const Sum& w) {
  asm volatile("" : "+x"(x));
  sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(x, w));
}
double MultiplyHalves(int64_t) {
  return 0;
}

#else

using Sum = int32_t;
constexpr int kOperations = 2;

HWY_INLINE Sum Start(int value) {
  return value;
}
HWY_INLINE void AddBytes(Sum& sum, Sum& x, const Sum& w) {
  asm volatile("" : "+r"(x));
  sum += static_cast<int8_t>(x) * static_cast<int8_t>(w);
}
HWY_INLINE void AddNibbles(Sum& sum, Sum& x, const Sum& w) {
  AddBytes(sum, x, w);
}
double MultiplyHalves(int64_t) {
  return 0;
}

#endif

template <bool kNibbles>
double MultiplyIntegers(int64_t rounds) {
  constexpr int kCount = HWY_TARGET == HWY_AVX2 ? 8 : kSums;  // sums, operands and products in 16 registers
  Sum x = Start(0x01010101), w = Start(0x01010101);
  Sum sums[kCount];
  for (Sum& sum : sums) sum = Start(0);
  for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 16
    for (int idx = 0; idx < kCount; ++idx) {
      if constexpr (kNibbles)
        AddNibbles(sums[idx], x, w);
      else
        AddBytes(sums[idx], x, w);
    }
  for (Sum& sum : sums) asm volatile("" : : "m"(sum) : "memory");
  return static_cast<double>(kOperations) * kCount * static_cast<double>(rounds);
}

#if HWY_TARGET == HWY_AVX2

double MultiplyFours(int64_t rounds) {
  Sum x = Start(0x01010101), sums[kSums];
#pragma GCC unroll 16
  for (Sum& sum : sums) sum = Start(0);
  for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 16
    for (Sum& sum : sums) asm volatile("%{vex%} vpdpbusd %[x], %[x], %[sum]" : [sum] "+x"(sum) : [x] "x"(x));
#pragma GCC unroll 16
  for (Sum& sum : sums) asm volatile("" : : "x"(sum));
  return static_cast<double>(kOperations) * kSums * static_cast<double>(rounds);
}

#elif HWY_ARCH_ARM_A64

template <bool kSquares>
double MultiplyVectors(int64_t rounds) {
  int8x16_t x = vdupq_n_s8(1);
  int32x4_t sums[kSums] = {};
  for (auto& sum : sums) asm volatile("" : "+w"(sum));  // or equal sums would become one
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+w"(x));
#pragma GCC unroll 16
    for (auto& sum : sums) sum = kSquares ? add_squares(sum, x, x) : add_dots(sum, x, x);
  }
  for (auto& sum : sums) asm volatile("" : "+w"(sum));
  return (kSquares ? 64.0 : 32.0) * kSums * static_cast<double>(rounds);
}

#endif

template <bool kNibbles>
double MultiplyAsChosen(int64_t rounds) {
#if HWY_TARGET == HWY_AVX2
  if (chosen_target() == kAvxVnni) return MultiplyFours(rounds);
#elif HWY_ARCH_ARM_A64
  if (chosen_target() == kNeonI8mm) return MultiplyVectors<true>(rounds);
  if (chosen_target() == kNeonDotProd) return MultiplyVectors<false>(rounds);
#endif
  return MultiplyIntegers<kNibbles>(rounds);
}

double MultiplyBytes(int64_t rounds) {
  return MultiplyAsChosen<false>(rounds);
}
double MultiplyNibbles(int64_t rounds) {
  return MultiplyAsChosen<true>(rounds);
}

uint64_t ReadMemory(const void* data, int64_t size) {
  const hn::CappedTag<uint64_t, 8> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), words = size / 8;
  const uint64_t* from = static_cast<const uint64_t*>(data);
  constexpr int kCount = 8;  // of 64 bytes at most: the 512 that sizes are a multiple of
  hn::Vec<decltype(d)> sums[kCount];
  for (auto& sum : sums) sum = hn::Zero(d);
  for (int64_t idx = 0; idx < words; idx += kCount * lanes)
#pragma GCC unroll 16
    for (int part = 0; part < kCount; ++part)
      sums[part] = hn::Add(sums[part], hn::Load(d, from + idx + part * lanes));
  for (int part = 1; part < kCount; ++part) sums[0] = hn::Add(sums[0], sums[part]);
  HWY_ALIGN uint64_t parts[8] = {};
  hn::Store(sums[0], d, parts);
  for (int lane = 1; lane < 8; ++lane) parts[0] += parts[lane];
  return parts[0];
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(MultiplyFloats);
HWY_EXPORT(MultiplyHalves);
HWY_EXPORT(MultiplyBytes);
HWY_EXPORT(MultiplyNibbles);
HWY_EXPORT(ReadMemory);

double multiply_floats(int64_t rounds) {
  level_from_environment();
  return HWY_DYNAMIC_DISPATCH(MultiplyFloats)(rounds);
}
double multiply_halves(int64_t rounds) {
  level_from_environment();
  return HWY_DYNAMIC_DISPATCH(MultiplyHalves)(rounds);
}
double multiply_bytes(int64_t rounds) {
  level_from_environment();
  return HWY_DYNAMIC_DISPATCH(MultiplyBytes)(rounds);
}
double multiply_nibbles(int64_t rounds) {
  level_from_environment();
  return HWY_DYNAMIC_DISPATCH(MultiplyNibbles)(rounds);
}
uint64_t read_memory(const void* data, int64_t size) {
  level_from_environment();
  return HWY_DYNAMIC_DISPATCH(ReadMemory)(data, size);
}

}  // namespace vlm::kernels
#endif
