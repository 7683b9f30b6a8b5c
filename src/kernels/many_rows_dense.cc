#include <cstring>

#include "kernels/blocked.h"
#include "kernels/product.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/many_rows_dense.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/bfloat16-inl.h"
#include "kernels/transpose-inl.h"

VLM_BEFORE_NAMESPACE_OF_PAIRS();
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

// Elements (bfloat16-inl.h) are of neighbouring inputs.
template <typename T, class Element>
struct Kernel {
  static constexpr int64_t kTileHeight = kHeight, kPanels = kPanelCount;

  const DenseMatrix& weight;
  const float* x;  // [row tiles, elements of a row, kHeight]

  int64_t input_count() const { return weight.in; }
  int64_t step_count() const { return ElementsOf<Element>(weight.in); }
  int64_t step_block() const { return 256; }  // a panel of 16 KB, half of the first-level cache
  int64_t panel_bytes(int64_t steps) const { return steps * kTileRows * 4; }

  // Panels are [elements, 16]; columns beyond the last output are zero.
  void expand(uint8_t* panel, int64_t tile, int64_t first, int64_t count) const {
    float* to = reinterpret_cast<float*>(panel);
    const int64_t column = tile * kTileRows, columns = HWY_MIN(kTileRows, weight.out - column);
    if (columns < kTileRows) std::memset(to, 0, static_cast<size_t>(count * kTileRows * 4));
    // Two bfloat16 weights that follow each other are an element as they lie.
    using Stored = std::conditional_t<Element::kNumbers == 2, float, T>;
    const int64_t stride = weight.stride / Element::kNumbers;
    Transpose(static_cast<const Stored*>(weight.data) + column * stride + first, stride, columns, count, to,
              kTileRows);
  }

  HWY_NOINLINE void multiply(const Panels& panels, int64_t row_tile, int64_t first, int64_t count,
                             const Target& target) const {
    const DFloat d;
    constexpr int kPanelVectors = kVectors / kPanelCount;
    const float* w[kPanelCount];
    for (int panel = 0; panel < kPanelCount; ++panel)
      w[panel] = reinterpret_cast<const float*>(panels.first + panel * panels.stride);
    const float* values = x + (row_tile * step_count() + first) * kHeight;
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
          sums[row][vector] = Element::MulAdd(value, columns[vector], sums[row][vector]);
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

template <class Element>
void RoundRow(const float* x, int64_t count, float* to) {
  StoreElements<Element>(count, to, [=](int64_t idx) HWY_ATTR {
    const DFloat d;
    if (HWY_LIKELY(idx + kLanes <= count)) return hn::LoadU(d, x + idx);
    HWY_ALIGN float rest[kLanes] = {};
    if (idx < count) std::memcpy(rest, x + idx, static_cast<size_t>(count - idx) * sizeof(float));
    return hn::Load(d, rest);
  });
}

template <typename T, class Element = Single>
void Run(const Product& product, const DenseMatrix& weight) {
  const int64_t row_tiles = (product.rows + kHeight - 1) / kHeight, elements = ElementsOf<Element>(weight.in);
  static thread_local Scratch scratch;
  float* x = scratch.get<float>(row_tiles * elements * kHeight);
  for_each_balanced(row_tiles, 2 * product.rows * weight.in, [&, x](int64_t tile) {
    float* to = x + tile * elements * kHeight;
    const float* from = product.x + tile * kHeight * product.x_stride;
    int64_t stride = product.x_stride;
    const int64_t rows = HWY_MIN(kHeight, product.rows - tile * kHeight);
    if (rows < kHeight) std::memset(to, 0, static_cast<size_t>(elements * kHeight * 4));
    if constexpr (Element::kNumbers == 2) {
      static thread_local Scratch rounded;
      const int64_t padded = (elements + kLanes - 1) / kLanes * kLanes;
      float* pairs = rounded.get<float>(kHeight * padded);
      for (int64_t row = 0; row < rows; ++row)
        RoundRow<Element>(from + row * stride, weight.in, pairs + row * padded);
      from = pairs, stride = padded;
    }
    Transpose(from, stride, rows, elements, to, kHeight);
  });
  multiply_blocked(Kernel<T, Element>{weight, x}, product, weight.out, nullptr);
}

#if VLM_HAS_PAIRS
bool TakesPairs(const DenseMatrix& weight) {
  const bool has_whole_pairs = weight.in % 2 == 0 && weight.stride % 2 == 0;
  return has_whole_pairs && reinterpret_cast<uintptr_t>(weight.data) % sizeof(float) == 0 && has_pairs();
}
#endif

void ManyRowsDense(const Product& product, const DenseMatrix& weight) {
  switch (weight.type) {
    case Float::f32:
      return Run<float>(product, weight);
    case Float::bf16:
#if VLM_HAS_PAIRS
      if (TakesPairs(weight)) return Run<hwy::bfloat16_t, Pair>(product, weight);
#endif
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
