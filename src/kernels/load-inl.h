// Loading numbers of any floating-point type as float32 vectors. Included once for each instruction set.
#if defined(VLM_KERNELS_LOAD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VLM_KERNELS_LOAD_INL_H_
#undef VLM_KERNELS_LOAD_INL_H_
#else
#define VLM_KERNELS_LOAD_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const float* from) {
  return hn::LoadU(d, from);
}
template <class D, typename Half>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const Half* from) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<Half, D>(), from));
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#endif
