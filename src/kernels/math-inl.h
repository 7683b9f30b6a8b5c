// exp, tanh and erf of float vectors. Included once for each instruction set.
#if defined(VLM_KERNELS_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_MATH_INL_H_
#undef VLM_KERNELS_MATH_INL_H_
#else
#define VLM_KERNELS_MATH_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Within 2 units in the last place; 0 below -87 (and at minus infinity), the largest power near 3e38
// above 88.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  const hn::RebindToSigned<D> d_int;
  const V low = hn::Set(d, -87.0f);
  V clamped = hn::Min(hn::Max(x, low), hn::Set(d, 88.0f));
  // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts so that r is exact.
  auto n = hn::NearestInt(hn::Mul(clamped, hn::Set(d, 1.44269504f)));
  V count = hn::ConvertTo(d, n);
  V r = hn::NegMulAdd(count, hn::Set(d, 0.693359375f), clamped);
  r = hn::NegMulAdd(count, hn::Set(d, -2.12194440e-4f), r);
  // The minimax polynomial of Cephes' expf for (e^r - 1 - r) / r^2.
  V p = hn::MulAdd(hn::Set(d, 1.9875691500e-4f), r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  V power = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(d_int, 127))));
  return hn::IfThenZeroElse(hn::Lt(x, low), hn::Mul(p, power));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, Exp(d, hn::Neg(x))));
}

// Within 2e-7.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  return hn::NegMulAdd(hn::Set(d, 2.0f), Sigmoid(d, hn::Mul(x, hn::Set(d, -2.0f))), hn::Set(d, 1.0f));
}

// Within 3e-7. Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Erf(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  V magnitude = hn::Abs(x);
  V t = hn::Div(one, hn::MulAdd(hn::Set(d, 0.3275911f), magnitude, one));
  V p = hn::MulAdd(hn::Set(d, 1.061405429f), t, hn::Set(d, -1.453152027f));
  p = hn::MulAdd(p, t, hn::Set(d, 1.421413741f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.284496736f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.254829592f));
  V value = hn::NegMulAdd(hn::Mul(p, t), Exp(d, hn::Neg(hn::Mul(x, x))), one);
  return hn::CopySignToAbs(value, x);
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#endif
