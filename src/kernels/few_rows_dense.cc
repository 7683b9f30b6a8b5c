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
using VFloat = hn::Vec<DFloat>;
constexpr int64_t kLanes = HWY_MIN(HWY_LANES(float), 16);

// Inputs go in steps of two vectors. A step of bfloat16 is split into its even and its odd inputs, which
// takes a shift and a mask; in order it would take two conversions more. x is laid out alike.
constexpr int64_t kStep = 2 * kLanes;

// A block of outputs shares what is loaded of x, a block of rows what is loaded and widened of W. Each pair
// has a sum, as many as registers hold beside a step of W (AVX2: 8 of 16). A sum's lanes add up one input
// after the other, so what a row computes does not depend on the blocks that it and the output are in.
constexpr int kMostRows = 4;
template <int kRows>
constexpr int kOutputs = (HWY_TARGET == HWY_AVX2) && kRows > 2 ? 2 : 4;

template <typename T>
struct Split {
  static constexpr bool kIsInterleaved = false;
  static HWY_INLINE void Load(const T* from, VFloat& first, VFloat& second) {
    const DFloat d;
    first = LoadFloats(d, from);
    second = LoadFloats(d, from + kLanes);
  }
};
template <>
struct Split<hwy::bfloat16_t> {
  static constexpr bool kIsInterleaved = true;
  static HWY_INLINE void Load(const hwy::bfloat16_t* from, VFloat& even, VFloat& odd) {
    const DFloat d;
#if HWY_TARGET == HWY_SCALAR
    even = LoadFloats(d, from);
    odd = LoadFloats(d, from + 1);
#else
    const hn::RebindToUnsigned<DFloat> d_pair;
    const hn::Repartition<uint16_t, DFloat> d_half;
    auto pairs = hn::BitCast(d_pair, hn::LoadU(d_half, reinterpret_cast<const uint16_t*>(from)));
    even = hn::BitCast(d, hn::ShiftLeft<16>(pairs));
    odd = hn::BitCast(d, hn::And(pairs, hn::Set(d_pair, 0xffff0000)));
#endif
  }
};

// x as it is read: [steps, 2, rows, kLanes], zeros behind the last input.
template <typename T>
void Arrange(const Product& product, int64_t in, float* to) {
  const DFloat d;
  const int64_t rows = product.rows;
  for (int64_t row = 0; row < rows; ++row) {
    const float* from = product.x + row * product.x_stride;
    float* at = to + row * kLanes;
    for (int64_t k = 0; k < in; k += kStep, at += rows * kStep) {
      float rest[kStep] = {};
      const float* step = from + k;
      if (in - k < kStep) {
        std::copy_n(step, in - k, rest);
        step = rest;
      }
      VFloat first, second;
      if constexpr (Split<T>::kIsInterleaved) {
        hn::LoadInterleaved2(d, step, first, second);
      } else {
        first = hn::LoadU(d, step);
        second = hn::LoadU(d, step + kLanes);
      }
      hn::Store(first, d, at);
      hn::Store(second, d, at + rows * kLanes);
    }
  }
}

// kCount outputs of kRows rows. Meanwhile the weights of the next block are asked for, into the second-level
// cache: the prefetchers of the hardware stop at the end of a page, and follow x as well.
template <typename T, int kCount, int kRows>
void Block(const Product& product, const DenseMatrix& weight, const float* x, int64_t output, int64_t row) {
  const DFloat d;
  const int64_t stride = weight.stride;
  const T* w = static_cast<const T*>(weight.data) + output * stride;
  x += row * kLanes;
  VFloat sums[kCount][kRows];
#pragma GCC unroll 16
  for (int col = 0; col < kCount; ++col)
#pragma GCC unroll 16
    for (int line = 0; line < kRows; ++line) sums[col][line] = hn::Zero(d);
  auto add = [&](const T* from, int64_t from_stride) HWY_ATTR {
    VFloat parts[2][kCount];
#pragma GCC unroll 16
    for (int col = 0; col < kCount; ++col)
      Split<T>::Load(from + col * from_stride, parts[0][col], parts[1][col]);
#pragma GCC unroll 2
    for (int part = 0; part < 2; ++part)
#pragma GCC unroll 16
      for (int line = 0; line < kRows; ++line) {
        const VFloat value = hn::Load(d, x + (part * product.rows + line) * kLanes);
#pragma GCC unroll 16
        for (int col = 0; col < kCount; ++col)
          sums[col][line] = hn::MulAdd(parts[part][col], value, sums[col][line]);
      }
    x += product.rows * kStep;
  };

  constexpr int64_t kCacheLine = 64 / sizeof(T), kPiece = HWY_MAX(kStep, kCacheLine);
  const int64_t ahead = output + 2 * kCount <= weight.out ? kCount * stride : 0;
  int64_t k = 0;
  for (; k + kPiece <= weight.in; k += kPiece) {
#pragma GCC unroll 16
    for (int64_t line = 0; line < kPiece; line += kCacheLine)
#pragma GCC unroll 16
      for (int col = 0; col < kCount; ++col) __builtin_prefetch(w + ahead + col * stride + k + line, 0, 2);
#pragma GCC unroll 16
    for (int64_t step = 0; step < kPiece; step += kStep) add(w + k + step, stride);
  }
  for (; k + kStep <= weight.in; k += kStep) add(w + k, stride);
  if (k < weight.in) {
    T rest[kCount * kStep] = {};
    for (int col = 0; col < kCount; ++col)
      std::copy_n(w + col * stride + k, weight.in - k, rest + col * kStep);
    add(rest, kStep);
  }
  for (int line = 0; line < kRows; ++line)
    for (int col = 0; col < kCount; ++col)
      product.y[(row + line) * product.y_stride + output + col] =
          hn::GetLane(hn::SumOfLanes(d, sums[col][line])) +
          (product.bias ? product.bias[output + col] : 0.0f);
}

template <typename T, int kRows>
void Range(const Product& product, const DenseMatrix& weight, const float* x, int64_t first, int64_t last,
           int64_t row) {
  for (; first + kOutputs<kRows> <= last; first += kOutputs<kRows>)
    Block<T, kOutputs<kRows>, kRows>(product, weight, x, first, row);
  for (; first < last; ++first) Block<T, 1, kRows>(product, weight, x, first, row);
}

template <typename T>
void Run(const Product& product, const DenseMatrix& weight) {
  static thread_local Scratch scratch;
  float* x = scratch.get<float>((weight.in + kStep - 1) / kStep * kStep * product.rows);
  Arrange<T>(product, weight.in, x);
  constexpr int64_t kOutputsAtOnce = 16;
  const int64_t tasks = (weight.out + kOutputsAtOnce - 1) / kOutputsAtOnce;
  for_each_in_runs(tasks, 4 * product.rows * weight.out * weight.in, [&, x](int64_t task) {
    int64_t first = task * kOutputsAtOnce, last = HWY_MIN(first + kOutputsAtOnce, weight.out);
    for (int64_t row = 0; row < product.rows;) {
      switch (HWY_MIN(product.rows - row, kMostRows)) {
        case 1:
          Range<T, 1>(product, weight, x, first, last, row);
          row += 1;
          break;
        case 2:
          Range<T, 2>(product, weight, x, first, last, row);
          row += 2;
          break;
        case 3:
          Range<T, 3>(product, weight, x, first, last, row);
          row += 3;
          break;
        default:
          Range<T, 4>(product, weight, x, first, last, row);
          row += 4;
      }
    }
  });
}

void FewRowsDense(const Product& product, const DenseMatrix& weight) {
  switch (weight.type) {
    case Float::f32:
      Run<float>(product, weight);
      break;
    case Float::bf16:
      Run<hwy::bfloat16_t>(product, weight);
      break;
    case Float::f16:
      Run<hwy::float16_t>(product, weight);
  }
  if (product.has_function()) apply(product.function_of_sums(0, 0, product.rows, weight.out));
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
