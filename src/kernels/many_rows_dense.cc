#include <cstring>

#include "kernels/blocked.h"
#include "kernels/product.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/many_rows_dense.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

using DFloat = hn::CappedTag<float, 16>;
using VFloat = hn::Vec<DFloat>;
constexpr int kLanes = HWY_MIN(HWY_LANES(float), 16);
// A number of x is multiplied by two vectors of W and more, so that there are fewer loads than products.
// Sums, a row of W and one number of x: 12 + 2 + 1 of AVX2's 16 registers, 28 + 2 + 1 of AVX-512's 32, 24 + 4
// + 1 of NEON's.
constexpr int kPanelCount = kLanes == 16 ? 2 : 1;
constexpr int kVectors = kPanelCount * static_cast<int>(kTileRows) / kLanes;
constexpr int kHeight = kLanes == 16 ? 14 : 6;

// A vector of one number, in a register: GCC would load it anew for each product.
HWY_INLINE VFloat Broadcast(const float* from) {
  VFloat value = hn::Set(DFloat(), *from);
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  asm("" : "+v"(value.raw));
#endif
  return value;
}

template <typename T>
struct Kernel {
  static constexpr int64_t kTileHeight = kHeight, kPanels = kPanelCount;

  const DenseMatrix& weight;
  const float* x;  // [row tiles, in, kHeight]

  int64_t input_count() const { return weight.in; }
  int64_t step_count() const { return weight.in; }
  int64_t step_block() const { return 256; }  // a panel of 16 KB, half of the first-level cache
  int64_t panel_bytes(int64_t steps) const { return steps * kTileRows * 4; }

  // Panels are [inputs, 16]; columns beyond the last output are zero.
  void expand(uint8_t* panel, int64_t tile, int64_t first, int64_t count) const {
    float* to = reinterpret_cast<float*>(panel);
    const int64_t column = tile * kTileRows, columns = HWY_MIN(kTileRows, weight.out - column);
    if (columns < kTileRows) std::memset(to, 0, static_cast<size_t>(count * kTileRows * 4));
    Transpose(static_cast<const T*>(weight.data) + column * weight.stride + first, weight.stride, columns,
              count, to, kTileRows);
  }

  HWY_NOINLINE void multiply(const Panels& panels, int64_t row_tile, int64_t first, int64_t count,
                             const Target& target) const {
    const DFloat d;
    constexpr int kPanelVectors = kVectors / kPanelCount;
    const float* w[kPanelCount];
    for (int panel = 0; panel < kPanelCount; ++panel)
      w[panel] = reinterpret_cast<const float*>(panels.first + panel * panels.stride);
    const float* values = x + (row_tile * weight.in + first) * kHeight;
    VFloat sums[kHeight][kVectors];
#pragma GCC unroll 16
    for (int row = 0; row < kHeight; ++row)
#pragma GCC unroll 16
      for (int vector = 0; vector < kVectors; ++vector) sums[row][vector] = hn::Zero(d);
    for (int64_t step = 0; step < count; ++step) {
      VFloat columns[kVectors];
#pragma GCC unroll 16
      for (int vector = 0; vector < kVectors; ++vector)
        columns[vector] =
            hn::Load(d, w[vector / kPanelVectors] + step * kTileRows + vector % kPanelVectors * kLanes);
#pragma GCC unroll 16
      for (int row = 0; row < kHeight; ++row) {
        const VFloat value = Broadcast(values + row);
#pragma GCC unroll 16
        for (int vector = 0; vector < kVectors; ++vector)
          sums[row][vector] = hn::MulAdd(value, columns[vector], sums[row][vector]);
      }
      values += kHeight;
    }
#pragma GCC unroll 16
    for (int vector = 0; vector < kVectors; ++vector) {
      VFloat bias = hn::Zero(d);
      if (target.is_last && target.bias) bias = hn::LoadU(d, target.bias + vector * kLanes);
#pragma GCC unroll 16
      for (int row = 0; row < kHeight; ++row) {
        float* y = target.y + row * target.stride + vector * kLanes;
        VFloat before = target.is_first ? bias : hn::Add(hn::LoadU(d, y), bias);
        hn::StoreU(hn::Add(before, sums[row][vector]), d, y);
      }
    }
  }
};

template <typename T>
void Run(const Product& product, const DenseMatrix& weight) {
  const int64_t row_tiles = (product.rows + kHeight - 1) / kHeight;
  static thread_local Scratch scratch;
  float* x = scratch.get<float>(row_tiles * weight.in * kHeight);
  for_each_balanced(row_tiles, 2 * product.rows * weight.in, [&, x](int64_t tile) {
    float* to = x + tile * weight.in * kHeight;
    const int64_t rows = HWY_MIN(kHeight, product.rows - tile * kHeight);
    if (rows < kHeight) std::memset(to, 0, static_cast<size_t>(weight.in * kHeight * 4));
    Transpose(product.x + tile * kHeight * product.x_stride, product.x_stride, rows, weight.in, to, kHeight);
  });
  multiply_blocked(Kernel<T>{weight, x}, product, weight.out, nullptr);
}

void ManyRowsDense(const Product& product, const DenseMatrix& weight) {
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

HWY_EXPORT(ManyRowsDense);

void many_rows_dense(const Product& product, const DenseMatrix& weight) {
  HWY_DYNAMIC_DISPATCH(ManyRowsDense)(product, weight);
}

}  // namespace vlm::kernels
#endif
