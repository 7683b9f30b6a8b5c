#include "kernels/rope.h"

#include "base/parallel.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

void RopeHead(const float* x, const float* cos, const float* sin, float* y, int64_t width, int64_t half) {
  const hn::CappedTag<float, 16> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t r = 0;
  for (; r + lanes <= half; r += lanes) {
    auto first = hn::LoadU(d, x + r), second = hn::LoadU(d, x + half + r);
    auto c = hn::LoadU(d, cos + r), s = hn::LoadU(d, sin + r);
    hn::StoreU(hn::NegMulAdd(second, s, hn::Mul(first, c)), d, y + r);
    hn::StoreU(hn::MulAdd(first, s, hn::Mul(second, c)), d, y + half + r);
  }
  for (; r < half; ++r) {
    y[r] = x[r] * cos[r] - x[half + r] * sin[r];
    y[half + r] = x[half + r] * cos[r] + x[r] * sin[r];
  }
  for (r = 2 * half; r < width; ++r) y[r] = x[r];
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(RopeHead);

void rope(const Rope& args) {
  parallel_for(0, args.tokens, 1 + 16384 / (args.heads * args.width + 1), [&](int64_t first, int64_t last) {
    for (int64_t token = first; token < last; ++token)
      for (int64_t head = 0; head < args.heads; ++head) HWY_DYNAMIC_DISPATCH(RopeHead)
    (args.x + token * args.token_stride + head * args.head_stride, args.cos + token * args.half,
     args.sin + token * args.half, args.y + (token * args.heads + head) * args.width, args.width, args.half);
  });
}

}  // namespace vlm::kernels
#endif
