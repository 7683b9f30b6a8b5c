#include "kernels/norm.h"

#include <cmath>

#include "base/parallel.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using DFloat = hn::CappedTag<float, 16>;
using VFloat = hn::Vec<DFloat>;

// Sum of (x - shift), or of its squares, in two chains to hide the latency of an addition.
template <bool kSquares>
float Sum(const float* x, float shift, int64_t width) {
  const DFloat d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  VFloat offset = hn::Set(d, shift), sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  auto add = [&](VFloat sum, const float* at) HWY_ATTR {
    VFloat v = hn::Sub(hn::LoadU(d, at), offset);
    return kSquares ? hn::MulAdd(v, v, sum) : hn::Add(v, sum);
  };
  int64_t col = 0;
  for (; col + 2 * lanes <= width; col += 2 * lanes) {
    sum0 = add(sum0, x + col);
    sum1 = add(sum1, x + col + lanes);
  }
  float total = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1)));
  for (; col < width; ++col) total += kSquares ? (x[col] - shift) * (x[col] - shift) : x[col] - shift;
  return total;
}

// y = (x - shift) * scale * weight + bias.
void Scale(const float* x, float shift, float scale, const float* weight, const float* bias, float* y,
           int64_t width) {
  const DFloat d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const VFloat offset = hn::Set(d, shift), factor = hn::Set(d, scale);
  int64_t col = 0;
  for (; col + lanes <= width; col += lanes) {
    VFloat v = hn::Mul(hn::Sub(hn::LoadU(d, x + col), offset), factor);
    if (weight) v = hn::Mul(v, hn::LoadU(d, weight + col));
    if (bias) v = hn::Add(v, hn::LoadU(d, bias + col));
    hn::StoreU(v, d, y + col);
  }
  for (; col < width; ++col)
    y[col] = (x[col] - shift) * scale * (weight ? weight[col] : 1.0f) + (bias ? bias[col] : 0.0f);
}

void RmsNormRow(const float* x, const float* weight, float eps, float* y, int64_t width) {
  float mean_square = Sum<true>(x, 0.0f, width) / static_cast<float>(width);
  Scale(x, 0.0f, 1.0f / std::sqrt(mean_square + eps), weight, nullptr, y, width);
}

void LayerNormRow(const float* x, const float* weight, const float* bias, float eps, float* y,
                  int64_t width) {
  float mean = Sum<false>(x, 0.0f, width) / static_cast<float>(width);
  float variance = Sum<true>(x, mean, width) / static_cast<float>(width);
  Scale(x, mean, 1.0f / std::sqrt(variance + eps), weight, bias, y, width);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(RmsNormRow);
HWY_EXPORT(LayerNormRow);

namespace {
// Below about 16 thousand elements waking another thread costs more than it saves.
int64_t grain(int64_t width) {
  return 1 + 16384 / (width + 1);
}
}  // namespace

void rms_norm(const float* x, int64_t x_stride, const float* weight, float eps, float* y, int64_t rows,
              int64_t width) {
  parallel_for(0, rows, grain(width), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      HWY_DYNAMIC_DISPATCH(RmsNormRow)(x + row * x_stride, weight, eps, y + row * width, width);
  });
}

void layer_norm(const float* x, int64_t x_stride, const float* weight, const float* bias, float eps, float* y,
                int64_t rows, int64_t width) {
  parallel_for(0, rows, grain(width), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      HWY_DYNAMIC_DISPATCH(LayerNormRow)(x + row * x_stride, weight, bias, eps, y + row * width, width);
  });
}

}  // namespace vlm::kernels
#endif
