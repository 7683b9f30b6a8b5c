#include <cstring>

#include "kernels/blocked.h"
#include "kernels/factors.h"
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

// Weights [out, in] as a file keeps them. Elements (bfloat16-inl.h) are of neighbouring inputs.
template <typename T, class Element>
struct Stored {
  static constexpr int64_t kNumbers = Element::kNumbers;
  using Sum = Element;

  const DenseMatrix& matrix;

  int64_t in() const { return matrix.in; }
  // to[element * kTileRows + row] of `rows` rows from `row` on, as many elements as `count` from `first` on.
  void pack(int64_t row, int64_t rows, int64_t first, int64_t count, float* to) const {
    if (rows < kTileRows) std::memset(to, 0, static_cast<size_t>(count * kTileRows * 4));
    // Two bfloat16 weights that follow each other are an element as they lie.
    using Kept = std::conditional_t<kNumbers == 2, float, T>;
    const int64_t stride = matrix.stride / kNumbers;
    Transpose(static_cast<const Kept*>(matrix.data) + row * stride + first, stride, rows, count, to,
              kTileRows);
  }
};

template <class Weights>
struct Kernel {
  static constexpr int64_t kTileHeight = kHeight, kPanels = kPanelCount;

  const Weights& weights;
  int64_t out;
  const float* x;  // [row tiles, elements of a row, kHeight]

  int64_t input_count() const { return weights.in(); }
  int64_t step_count() const { return ElementsOf<typename Weights::Sum>(weights.in()); }
  int64_t step_block() const { return 256; }  // a panel of 16 KB, half of the first-level cache
  int64_t panel_bytes(int64_t steps) const { return steps * kTileRows * 4; }

  // Panels are [elements, 16]; columns beyond the last output are zero.
  void expand(uint8_t* panel, int64_t tile, int64_t first, int64_t count) const {
    const int64_t column = tile * kTileRows;
    weights.pack(column, HWY_MIN(kTileRows, out - column), first, count, reinterpret_cast<float*>(panel));
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
          sums[row][vector] = Weights::Sum::MulAdd(value, columns[vector], sums[row][vector]);
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

// to[element * width + row]: `count` numbers each of `rows` rows that are `stride` apart; zeros for the rows
// from there to `width`.
template <class Element>
void PackRows(const float* from, int64_t stride, int64_t rows, int64_t count, float* to, int64_t width) {
  const int64_t elements = ElementsOf<Element>(count);
  if (rows < width) std::memset(to, 0, static_cast<size_t>(elements * width * 4));
  if constexpr (Element::kNumbers == 2) {
    static thread_local Scratch rounded;
    const int64_t padded = (elements + kLanes - 1) / kLanes * kLanes;
    float* pairs = rounded.get<float>(rows * padded);
    for (int64_t row = 0; row < rows; ++row)
      RoundRow<Element>(from + row * stride, count, pairs + row * padded);
    from = pairs, stride = padded;
  }
  Transpose(from, stride, rows, elements, to, width);
}

template <typename T, class Element = Single>
void Run(const Product& product, const DenseMatrix& weight) {
  const int64_t row_tiles = (product.rows + kHeight - 1) / kHeight, elements = ElementsOf<Element>(weight.in);
  static thread_local Scratch scratch;
  float* x = scratch.get<float>(row_tiles * elements * kHeight);
  for_each_balanced(row_tiles, 2 * product.rows * weight.in, [&, x](int64_t tile) {
    const int64_t row = tile * kHeight, rows = HWY_MIN(kHeight, product.rows - row);
    PackRows<Element>(product.x + row * product.x_stride, product.x_stride, rows, weight.in,
                      x + row * elements, kHeight);
  });
  const Stored<T, Element> weights{weight};
  multiply_blocked(Kernel<Stored<T, Element>>{weights, weight.out, x}, product, weight.out, nullptr);
}

#if VLM_HAS_PAIRS
bool TakesPairs(const DenseMatrix& weight) {
  const bool has_whole_pairs = weight.in % 2 == 0 && weight.stride % 2 == 0;
  return has_whole_pairs && reinterpret_cast<uintptr_t>(weight.data) % sizeof(float) == 0 && has_pairs();
}
#endif

// As PackRows where the numbers of neighbouring rows follow each other: `from` is the first row's first
// number, its next one `stride` behind it.
template <class Element>
void PackColumns(const float* from, int64_t stride, int64_t rows, int64_t count, float* to, int64_t width) {
  if constexpr (Element::kNumbers == 1) {
    for (int64_t idx = 0; idx < count; ++idx, from += stride, to += width) {
      std::memcpy(to, from, static_cast<size_t>(rows) * sizeof(float));
      for (int64_t row = rows; row < width; ++row) to[row] = 0.0f;
    }
  } else {
    const DFloat d;
    const auto loaded = hn::FirstN(d, static_cast<size_t>(rows)),
               stored = hn::FirstN(d, static_cast<size_t>(width));
    for (int64_t idx = 0; idx < count; idx += 2, from += 2 * stride, to += width) {
      const VFloat low = hn::MaskedLoad(loaded, d, from);
      const VFloat high = idx + 1 < count ? hn::MaskedLoad(loaded, d, from + stride) : hn::Zero(d);
      hn::BlendedStore(Element::Of(low, high), stored, d, to);
    }
  }
}

template <class Element>
struct Packed {
  using Sum = Element;

  const Factor& factor;
  int64_t inputs;

  int64_t in() const { return inputs; }
  void pack(int64_t row, int64_t rows, int64_t first, int64_t count, float* to,
            int64_t width = kTileRows) const {
    const int64_t begin = Element::kNumbers * first;
    const int64_t numbers = HWY_MIN(Element::kNumbers * count, inputs - begin);
    const auto pack_them = factor.is_transposed ? PackColumns<Element> : PackRows<Element>;
    const float* from =
        factor.data + (factor.is_transposed ? begin * factor.stride + row : row * factor.stride + begin);
    pack_them(from, factor.stride, rows, numbers, to, width);
  }
};

template <class Element>
void RunFactors(const FactorProduct& product) {
  const int64_t elements = ElementsOf<Element>(product.in),
                all_tiles = (product.rows + kHeight - 1) / kHeight;
  // Packed rows wait for their turn in memory that is kept, so that there are only so many at a time.
  constexpr int64_t kPackedFloats = int64_t{8} << 20;
  const int64_t most_tiles = HWY_MAX(kPackedFloats / (elements * kHeight), int64_t{32});
  constexpr int64_t kBlock = 128;  // elements of all rows to pack at once, which lie in few pages
  const Packed<Element> a{product.a, product.in}, b{product.b, product.in};
  static thread_local Scratch scratch;
  for (int64_t first = 0; first < all_tiles; first += most_tiles) {
    const int64_t tiles = HWY_MIN(most_tiles, all_tiles - first), begin = first * kHeight;
    const int64_t rows = HWY_MIN(tiles * kHeight, product.rows - begin);
    float* x = scratch.get<float>(tiles * elements * kHeight);
    auto pack = [&, x](int64_t tile, int64_t element, int64_t count) {
      a.pack(begin + tile * kHeight, HWY_MIN(kHeight, rows - tile * kHeight), element, count,
             x + (tile * elements + element) * kHeight, kHeight);
    };
    const int64_t operations = 2 * rows * product.in;
    if (product.a.is_transposed)
      for_each_balanced((elements + kBlock - 1) / kBlock, operations, [&](int64_t block) {
        const int64_t element = block * kBlock, count = HWY_MIN(kBlock, elements - element);
        for (int64_t tile = 0; tile < tiles; ++tile) pack(tile, element, count);
      });
    else
      for_each_balanced(tiles, operations, [&](int64_t tile) { pack(tile, 0, elements); });
    const Product part{nullptr,          0,    product.y + begin * product.y_stride,
                       product.y_stride, rows, product.bias};
    multiply_blocked(Kernel<Packed<Element>>{b, product.out, x}, part, product.out, nullptr);
  }
}

void MultiplyFactors(const FactorProduct& product) {
#if VLM_HAS_PAIRS
  if (product.rounds) return RunFactors<Pair>(product);
#endif
  RunFactors<Single>(product);
}

bool MultipliesPairs() {
#if VLM_HAS_PAIRS
  return has_pairs();
#else
  return false;
#endif
}

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
HWY_EXPORT(MultiplyFactors);
HWY_EXPORT(MultipliesPairs);

void many_rows_dense(const Product& product, const DenseMatrix& weight) {
  HWY_DYNAMIC_DISPATCH(ManyRowsDense)(product, weight);
}

void multiply_factors(const FactorProduct& product) {
  HWY_DYNAMIC_DISPATCH(MultiplyFactors)(product);
}
bool multiplies_pairs() {
  return HWY_DYNAMIC_DISPATCH(MultipliesPairs)();
}

}  // namespace vlm::kernels
#endif
