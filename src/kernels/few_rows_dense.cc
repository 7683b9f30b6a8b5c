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

// kOutputs neighbouring outputs of kRows rows, kSums sums for each: enough to hide the latency of an FMA
// (4 cycles, 2 a cycle on AVX2), and few enough for the registers.
template <typename T, int kRows, int kOutputs, int kSums>
void Outputs(const Product& product, const DenseMatrix& weight, int64_t output, int64_t first_row) {
  const DFloat d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const T* w = static_cast<const T*>(weight.data) + output * weight.stride;
  const float* x = product.x + first_row * product.x_stride;
  hn::Vec<DFloat> sums[kSums][kRows][kOutputs];
  for (int part = 0; part < kSums; ++part)
    for (int row = 0; row < kRows; ++row)
      for (int idx = 0; idx < kOutputs; ++idx) sums[part][row][idx] = hn::Zero(d);
  auto add = [&](int64_t at, hn::Vec<DFloat>(&to)[kRows][kOutputs]) HWY_ATTR {
    hn::Vec<DFloat> values[kRows];
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) values[row] = hn::LoadU(d, x + row * product.x_stride + at);
#pragma GCC unroll 4
    for (int idx = 0; idx < kOutputs; ++idx) {
      auto v = LoadFloats(d, w + idx * weight.stride + at);
#pragma GCC unroll 4
      for (int row = 0; row < kRows; ++row) to[row][idx] = hn::MulAdd(v, values[row], to[row][idx]);
    }
  };
  int64_t k = 0;
  for (; k + kSums * lanes <= weight.in; k += kSums * lanes) {
#pragma GCC unroll 4
    for (int part = 0; part < kSums; ++part) add(k + part * lanes, sums[part]);
  }
  for (; k + lanes <= weight.in; k += lanes) add(k, sums[0]);
  for (int row = 0; row < kRows; ++row)
    for (int idx = 0; idx < kOutputs; ++idx) {
      for (int part = 1; part < kSums; ++part)
        sums[0][row][idx] = hn::Add(sums[0][row][idx], sums[part][row][idx]);
      float sum = hn::GetLane(hn::SumOfLanes(d, sums[0][row][idx]));
      const hn::CappedTag<float, 1> d1;
      for (int64_t at = k; at < weight.in; ++at)
        sum += x[row * product.x_stride + at] * hn::GetLane(LoadFloats(d1, w + idx * weight.stride + at));
      product.y[(first_row + row) * product.y_stride + output + idx] =
          sum + (product.bias ? product.bias[output + idx] : 0.0f);
    }
}

// One row reads W as one stretch of memory, as a plain sum over it would. More rows take several outputs at
// once, so that x is read from the second-level cache less often.
template <typename T, int kRows>
void Range(const Product& product, const DenseMatrix& weight, int64_t first, int64_t last, int64_t row) {
  constexpr int kOutputs = kRows == 1 ? 1 : HWY_LANES(float) >= 16 ? 4 : 2;
  constexpr int kSums = kRows == 1 ? 4 : 1;
  for (; first + kOutputs <= last; first += kOutputs)
    Outputs<T, kRows, kOutputs, kSums>(product, weight, first, row);
  for (; first < last; ++first) Outputs<T, kRows, 1, kSums>(product, weight, first, row);
}

template <typename T>
void Run(const Product& product, const DenseMatrix& weight) {
  constexpr int64_t kOutputsAtOnce = 16;
  const int64_t tasks = (weight.out + kOutputsAtOnce - 1) / kOutputsAtOnce;
  for_each_in_runs(tasks, 4 * product.rows * weight.out * weight.in, [&](int64_t task) {
    int64_t first = task * kOutputsAtOnce, last = HWY_MIN(first + kOutputsAtOnce, weight.out);
    for (int64_t row = 0; row < product.rows;) {
      switch (HWY_MIN(product.rows - row, 4)) {
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
