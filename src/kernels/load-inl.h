// Loading numbers of any floating-point type as float32 vectors. Included once for each instruction set.
#if defined(VLM_KERNELS_LOAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_LOAD_INL_H_
#undef VLM_KERNELS_LOAD_INL_H_
#else
#define VLM_KERNELS_LOAD_INL_H_
#endif

#include "base/half.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const float* from) {
  return hn::LoadU(d, from);
}
#if HWY_TARGET == HWY_SCALAR
// Highway 1.0.3 takes infinities and NaNs of float16 for numbers here.
template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const hwy::float16_t* from) {
  uint16_t bits;
  __builtin_memcpy(&bits, from, sizeof bits);
  return hn::Set(d, half_to_float(bits));
}
#endif
template <class D, typename Half>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const Half* from) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<Half, D>(), from));
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#endif
