#include <algorithm>

#include "kernels/product.h"
#include "kernels/scratch.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/few_rows_dense.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/load-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

using DFloat = hn::CappedTag<float, 16>;

// Four sums for each row hide the latency of an FMA (4 cycles, 2 a cycle on AVX2).
constexpr int kSums = 4;
// As many rows as registers hold the sums of.
constexpr int kMostRows = HWY_LANES(float) >= 16 ? 4 : 2;

// One output of kRows rows. Every row adds up in the same order however many there are: what a token computes
// does not depend on how many come with it.
template <typename T, int kRows>
void Output(const Product& product, const DenseMatrix& weight, int64_t output, int64_t first_row) {
  const DFloat d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const T* w = static_cast<const T*>(weight.data) + output * weight.stride;
  const float* x = product.x + first_row * product.x_stride;
  hn::Vec<DFloat> sums[kSums][kRows];
  for (int part = 0; part < kSums; ++part)
    for (int row = 0; row < kRows; ++row) sums[part][row] = hn::Zero(d);
  auto add = [&](int64_t at, hn::Vec<DFloat>(&to)[kRows]) HWY_ATTR {
    const auto v = LoadFloats(d, w + at);
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row)
      to[row] = hn::MulAdd(v, hn::LoadU(d, x + row * product.x_stride + at), to[row]);
  };
  int64_t k = 0;
  for (; k + kSums * lanes <= weight.in; k += kSums * lanes) {
#pragma GCC unroll 4
    for (int part = 0; part < kSums; ++part) add(k + part * lanes, sums[part]);
  }
  for (; k + lanes <= weight.in; k += lanes) add(k, sums[0]);
  for (int row = 0; row < kRows; ++row) {
    for (int part = 1; part < kSums; ++part) sums[0][row] = hn::Add(sums[0][row], sums[part][row]);
    float sum = hn::GetLane(hn::SumOfLanes(d, sums[0][row]));
    const hn::CappedTag<float, 1> d1;
    for (int64_t at = k; at < weight.in; ++at)
      sum += x[row * product.x_stride + at] * hn::GetLane(LoadFloats(d1, w + at));
    product.y[(first_row + row) * product.y_stride + output] =
        sum + (product.bias ? product.bias[output] : 0.0f);
  }
}

// W is read as one stretch of memory, as a plain sum over it would; x lies in the first or second-level
// cache.
template <typename T, int kRows>
void Range(const Product& product, const DenseMatrix& weight, int64_t first, int64_t last, int64_t row) {
  for (; first < last; ++first) Output<T, kRows>(product, weight, first, row);
}

template <typename T>
void Run(const Product& product, const DenseMatrix& weight) {
  constexpr int64_t kOutputsAtOnce = 16;
  const int64_t tasks = (weight.out + kOutputsAtOnce - 1) / kOutputsAtOnce;
  for_each_in_runs(tasks, 4 * product.rows * weight.out * weight.in, [&](int64_t task) {
    int64_t first = task * kOutputsAtOnce, last = HWY_MIN(first + kOutputsAtOnce, weight.out);
    for (int64_t row = 0; row < product.rows;) {
      switch (HWY_MIN(product.rows - row, kMostRows)) {
        case 1:
          Range<T, 1>(product, weight, first, last, row);
          row += 1;
          break;
        case 2:
          Range<T, 2>(product, weight, first, last, row);
          row += 2;
          break;
        case 3:
          Range<T, 3>(product, weight, first, last, row);
          row += 3;
          break;
        default:
          Range<T, 4>(product, weight, first, last, row);
          row += 4;
      }
    }
  });
}

void FewRowsDense(const Product& product, const DenseMatrix& weight) {
  switch (weight.type) {
    case Float::f32:
      return Run<float>(product, weight);
    case Float::bf16:
      return Run<hwy::bfloat16_t>(product, weight);
    case Float::f16:
      return Run<hwy::float16_t>(product, weight);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(FewRowsDense);

void few_rows_dense(const Product& product, const DenseMatrix& weight) {
  HWY_DYNAMIC_DISPATCH(FewRowsDense)(product, weight);
}

}  // namespace vlm::kernels
#endif
