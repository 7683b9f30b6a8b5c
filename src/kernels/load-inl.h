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
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
// Highway 1.0.3 takes infinities and NaNs of float16 for numbers where the machine does not convert them.
template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const hwy::float16_t* from) {
  HWY_ALIGN float values[HWY_LANES(float)];
  for (size_t lane = 0; lane < hn::Lanes(d); ++lane) {
    uint16_t bits;
    __builtin_memcpy(&bits, from + lane, sizeof bits);
    values[lane] = half_to_float(bits);
  }
  return hn::Load(d, values);
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
