// What both ways of attention share. Included once for each instruction set.
#if defined(VLM_KERNELS_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_ATTENTION_INL_H_
#undef VLM_KERNELS_ATTENTION_INL_H_
#else
#define VLM_KERNELS_ATTENTION_INL_H_
#endif

#include <limits>

#include "hwy/highway.h"
#include "kernels/attention.h"
#include "kernels/kv_rows-inl.h"
#include "kernels/math-inl.h"

// The scheme is that of flash attention (arXiv:2205.14135): keys come in blocks; every query keeps the
// largest score so far, the sum of exponentials and the weighted sum of values relative to it. The largest is
// kept in units of ln 2: weights are powers of two.
//
// The heads that share a group of keys are rows of one product, as are the queries: "row" is
// query * heads in a group + head. So one pass over keys and values serves all heads of a group.

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

using DFloat = hn::CappedTag<float, 16>;
using VFloat = hn::Vec<DFloat>;
constexpr int kLanes = HWY_MIN(HWY_LANES(float), 16);
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr float kLog2e = 1.44269504f;

// 2^x for x <= 0, within 5e-7 of it; exactly 0 below -127.
HWY_INLINE VFloat Exp2(VFloat x) {
  const DFloat d;
#if HWY_TARGET <= HWY_AVX3
  const VFloat r{_mm512_reduce_ps(x.raw, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};  // within [0, 1]
  // The minimax polynomial of 2^r with p(0) = 1.
  VFloat p = hn::MulAdd(hn::Set(d, 1.8671301e-3f), r, hn::Set(d, 9.0170303e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.5799913e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 2.4016445e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 6.9315131e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  // Denormal numbers would be slow from here on. What is no number stays none.
  const __mmask16 is_normal = _mm512_cmp_ps_mask(x.raw, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
  return VFloat{_mm512_maskz_scalef_ps(is_normal, p.raw, x.raw)};
#else
  const hn::RebindToSigned<DFloat> d_int;
  // Adding 1.5 * 2^23 rounds to a whole number n, which then stands in the lowest bits.
  const VFloat magic = hn::Set(d, 12582912.0f);
  x = hn::Max(x, hn::Set(d, -127.0f));
  const VFloat shifted = hn::Add(x, magic);
  const VFloat r = hn::Sub(x, hn::Sub(shifted, magic));  // within 1/2
  // The minimax polynomial of 2^r with p(0) = 1.
  VFloat p = hn::MulAdd(hn::Set(d, 1.1125507e-3f), r, hn::Set(d, 9.6662827e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.5574004e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 2.4022351e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 6.9314283e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  return hn::BitCast(d, hn::Add(hn::BitCast(d_int, p), hn::ShiftLeft<23>(hn::BitCast(d_int, shifted))));
#endif
}
HWY_INLINE float Exp2(float x) {
  return hn::GetLane(Exp2(hn::Set(DFloat(), x)));
}

// The weight of a score relative to `reference`, the largest score in units of ln 2. That was rounded once,
// for all keys alike; the score itself is not, so that scores of hundreds keep their last place.
HWY_INLINE VFloat Weight(VFloat score, VFloat reference) {
  return Exp2(hn::MulSub(score, hn::Set(DFloat(), kLog2e), reference));
}

// Whether scores are changed before their softmax, beyond being hidden.
HWY_INLINE bool IsAdjusted(const Attention& args) {
  return args.softcap > 0 || args.alibi_slopes || args.bias || args.key_mask;
}

// The keys one query sees: [first, last), and [0, prefix).
struct Visible {
  int64_t first, last, prefix;
  bool Sees(int64_t key) const { return (key >= first && key < last) || key < prefix; }
  bool SeesAll(int64_t first_key, int64_t last_key) const {
    return (first_key >= first && last_key <= last) || last_key <= prefix;
  }
};

HWY_INLINE Visible VisibleTo(const Attention& args, int64_t query) {
  if (!args.is_causal) return {0, args.keys, 0};
  const int64_t position = args.keys - args.queries + query;
  const int64_t first = args.window > 0 ? HWY_MAX(int64_t{0}, position - args.window + 1) : 0;
  return {first, position + 1, HWY_MIN(args.prefix, args.keys)};
}

// The keys that some query of [first, last] sees; queries in between see no others.
HWY_INLINE Visible VisibleToSome(const Attention& args, int64_t first, int64_t last) {
  Visible seen = VisibleTo(args, first);
  seen.last = VisibleTo(args, last).last;
  return seen;
}

// Where the query of a row lies, and its output.
HWY_INLINE const float* QueryAt(const Attention& args, int64_t batch, int64_t query, int64_t head) {
  return args.q + batch * args.q_strides[0] + query * args.q_strides[1] + head * args.q_strides[2];
}
HWY_INLINE float* OutputAt(const Attention& args, int64_t batch, int64_t query, int64_t head) {
  return args.y + ((batch * args.queries + query) * args.heads + head) * args.value_width;
}

// What became of one row over some of the keys: the weighted sum of values, relative to `largest`.
struct RowState {
  const float* sums;
  float largest, total;
};

// Adds up a row's parts and writes its output; state(part) is a RowState. Features from `split_feature` on
// stand `shift` further behind in the sums.
template <typename State>
HWY_INLINE void FinishRow(int64_t parts, const State& state, float* y, int64_t width, int64_t split_feature,
                          int64_t shift) {
  const DFloat d;
  float largest = kMinusInfinity, total = 0.0f;
  for (int64_t part = 0; part < parts; ++part) largest = HWY_MAX(largest, state(part).largest);
  for (int64_t part = 0; part < parts; ++part) {
    const RowState row = state(part);
    if (row.largest != kMinusInfinity) total += row.total * Exp2(row.largest - largest);
  }
  const float inverse = total > 0.0f ? 1.0f / total : 0.0f;
  for (int64_t part = 0; part < parts; ++part) {
    const RowState row = state(part);
    const float factor = row.largest == kMinusInfinity ? 0.0f : Exp2(row.largest - largest) * inverse;
    // At the first part y holds nothing yet.
    auto add = [&](float before, float sum) { return (part == 0 ? 0.0f : before) + sum * factor; };
    const VFloat factors = hn::Set(d, factor);
    int64_t feature = 0;
    for (; feature + kLanes <= split_feature; feature += kLanes) {
      const VFloat before = part == 0 ? hn::Zero(d) : hn::LoadU(d, y + feature);
      hn::StoreU(hn::MulAdd(hn::LoadU(d, row.sums + feature), factors, before), d, y + feature);
    }
    for (; feature < split_feature; ++feature) y[feature] = add(y[feature], row.sums[feature]);
    for (; feature < width; ++feature) y[feature] = add(y[feature], row.sums[feature + shift]);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#endif
