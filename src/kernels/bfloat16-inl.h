// Products of two bfloat16 pairs at once, where they are the fastest the machine has (kernels/cpu.h).
// Included once for each instruction set.
#if defined(VLM_KERNELS_BFLOAT16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_BFLOAT16_INL_H_
#undef VLM_KERNELS_BFLOAT16_INL_H_
#else
#define VLM_KERNELS_BFLOAT16_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/cpu.h"

// Highway 1.0.3 has no instruction set with these products: files that use them begin their namespace with
// this, mark lambdas that call the file's own functions with VLM_ATTR_OF_PAIRS in place of HWY_ATTR, and ask
// has_pairs() before they multiply.
#undef VLM_BEFORE_NAMESPACE_OF_PAIRS
#undef VLM_ATTR_OF_PAIRS
#undef VLM_HAS_PAIRS
#if HWY_TARGET == HWY_AVX3_DL
#define VLM_BEFORE_NAMESPACE_OF_PAIRS() HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni,avx512bf16")
#define VLM_ATTR_OF_PAIRS __attribute__((target(HWY_TARGET_STR ",avx512vnni,avx512bf16")))
#define VLM_HAS_PAIRS 1
#else
#define VLM_BEFORE_NAMESPACE_OF_PAIRS() HWY_BEFORE_NAMESPACE()
#define VLM_ATTR_OF_PAIRS HWY_ATTR
#define VLM_HAS_PAIRS 0
#endif

VLM_BEFORE_NAMESPACE_OF_PAIRS();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// What products take comes in elements of four bytes, kept as floats whatever they hold: one float32, or two
// bfloat16, lower first. A sum is float32 either way.
struct Single {
  static constexpr int64_t kNumbers = 1;

  template <class V>
  static HWY_INLINE V MulAdd(V a, V b, V sum) {
    return hn::MulAdd(a, b, sum);
  }
};

// Of `count` numbers.
template <class Element>
constexpr int64_t ElementsOf(int64_t count) {
  return (count + Element::kNumbers - 1) / Element::kNumbers;
}

// Writes the elements of `count` numbers that follow each other, up to a whole vector of them; load(idx) is
// the vector of numbers at idx, with zeros from `count` on.
template <class Element, typename Load>
HWY_INLINE void StoreElements(int64_t count, float* to, const Load& load) {
  const hn::CappedTag<float, 16> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t idx = 0; idx < count; idx += lanes * Element::kNumbers) {
    auto elements = load(idx);
    if constexpr (Element::kNumbers == 2) elements = Element::OfNeighbours(elements, load(idx + lanes));
    hn::StoreU(elements, d, to + idx / Element::kNumbers);
  }
}

#if VLM_HAS_PAIRS

HWY_INLINE bool has_pairs() {
  return chosen_target() == kAvx512Pairs;
}

struct Pair {
  static constexpr int64_t kNumbers = 2;
  using Floats = hn::CappedTag<float, 16>;
  using V = hn::Vec<Floats>;

  // In assembler because GCC 12 copies every sum before and after its intrinsic.
  static HWY_INLINE V MulAdd(V a, V b, V sum) {
    asm("vdpbf16ps %[b], %[a], %[sum]" : [sum] "+v"(sum.raw) : [a] "v"(a.raw), [b] "v"(b.raw));
    return sum;
  }
  // Elements of the numbers of `low` and those of `high`, 16 each.
  static HWY_INLINE V Of(V low, V high) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23,
                                           7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(high.raw, low.raw);
    return V{_mm512_castsi512_ps(_mm512_permutexvar_epi16(order, both))};
  }
  // 16 elements of 32 numbers that follow each other.
  static HWY_INLINE V OfNeighbours(V first, V second) {
    return V{_mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(second.raw, first.raw))};
  }
  // 2^x for what becomes an element: within 7.5e-5 of it, where rounding takes up to 2^-8 of a number. 0 at
  // minus infinity.
  static HWY_INLINE V Exp2(V x) {
    const Floats d;
    const V r{_mm512_reduce_ps(x.raw, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};  // within [0, 1]
    // The minimax polynomial of 2^r.
    V p = hn::MulAdd(hn::Set(d, 0.078024523f), r, hn::Set(d, 0.22606716f));
    p = hn::MulAdd(p, r, hn::Set(d, 0.69583354f));
    p = hn::MulAdd(p, r, hn::Set(d, 0.99992522f));
    return V{_mm512_scalef_ps(p.raw, x.raw)};
  }
};

#endif

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#endif
