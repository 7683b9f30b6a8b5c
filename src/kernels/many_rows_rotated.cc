// Products of many rows where the machine multiplies bytes in fours (AVX-512 with VNNI): both sides are
// rotated, and rounded to 8 bits in groups of 256 inputs. A rotation leaves products as they are and spreads
// what a few channels hold, so that a group of 256 loses less to them than one of 32 would as it is; and with
// one scale for 256 inputs nearly all of the time goes into products, which tiles (AMX) multiply where the
// machine has them.
//
// The rotation (kernels/rotation.h) is a smaller one than QuaRot's of whole widths (arXiv:2404.00456).
// Weights that are not kept rotated are rotated when they are expanded, in 16 bits.
#include <cstring>

#include "kernels/blocked.h"
#include "kernels/cpu.h"
#include "kernels/massive.h"
#include "kernels/product.h"
#include "kernels/targets.h"
#include "kernels/tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/many_rows_rotated.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#if HWY_TARGET == HWY_AVX3_DL
#include "kernels/rotated-inl.h"
#endif

#if HWY_TARGET == HWY_AVX3_DL
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
#else
HWY_BEFORE_NAMESPACE();
#endif
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_AVX3_DL

#define VLM_ATTR_OF_FOURS __attribute__((target(HWY_TARGET_STR ",avx512vnni")))  // of lambdas

constexpr int kPanelsAtOnce = 2;
constexpr int64_t kWidth = kPanelsAtOnce * kTileRows;

// Of one product, x in tiles of so many rows.
template <int kHeight>
struct Rotated {
  static constexpr int64_t kTileHeight = kHeight, kPanels = kPanelsAtOnce;

  const QuantisedMatrix& weight;
  const uint8_t* x;     // [row tiles, groups, kHeight, kLongGroup], moved up by 128
  const float* scales;  // [row tiles, groups, kHeight]

  int64_t input_count() const { return weight.in; }
  int64_t step_count() const { return long_groups_of(weight.in); }
  // Panels stream from the second-level cache, beside a block of x: fewer steps would have the outputs read
  // and written more often.
  int64_t step_block() const { return second_level_cache_bytes() >= 2 << 20 ? 16 : 8; }
  int64_t panel_bytes(int64_t groups) const { return groups * static_cast<int64_t>(sizeof(PanelGroup)); }

  void expand(uint8_t* panel, int64_t tile, int64_t first, int64_t count) const {
    PanelGroup* to = reinterpret_cast<PanelGroup*>(panel);
    for (int64_t group = first; group < first + count; ++group, ++to)
      if (weight.is_rotated)
        CopyGroup(weight, tile, group, *to);
      else
        weight.bits == 8 ? ExpandGroup<8>(weight, tile, group, *to)
                         : ExpandGroup<4>(weight, tile, group, *to);
  }

  // Calls add(x of the group, its scales, left panel, right panel, quads, totals) for every group, and lays
  // the totals of the first kRows rows down.
  template <int kRows, typename Add>
  HWY_INLINE void AddUp(const Panels& panels, int64_t row_tile, int64_t first, int64_t count,
                        const Target& target, const Add& add) const {
    const PanelGroup* left = reinterpret_cast<const PanelGroup*>(panels.first);
    const PanelGroup* right = reinterpret_cast<const PanelGroup*>(panels.first + panels.stride);
    const int64_t at = (row_tile * step_count() + first) * kHeight;
    HWY_ALIGN float totals[kRows][kWidth];
    for (int row = 0; row < kRows; ++row)
      for (int64_t col = 0; col < kWidth; col += kTileRows)
        _mm512_store_ps(totals[row] + col, target.is_first
                                               ? _mm512_setzero_ps()
                                               : _mm512_loadu_ps(target.y + row * target.stride + col));
    // Outputs lie far apart, where no prefetcher finds them.
    const int64_t fetched = (kRows + count - 1) / count;  // rows of them for each group
    for (int64_t group = 0; group < count; ++group) {
      for (int64_t row = group * fetched; row < HWY_MIN((group + 1) * fetched, kRows); ++row)
        for (int64_t col = 0; col < kWidth; col += kTileRows)
          __builtin_prefetch(target.y + row * target.stride + col, 1);
      const int64_t first_row = at + group * kHeight;
      const int64_t quads = long_group_width((first + group) * kLongGroup, weight.in) / 4;
      add(x + first_row * kLongGroup, scales + first_row, left[group], right[group], quads, totals);
    }
    for (int64_t col = 0; col < kWidth; col += kTileRows) {
      __m512 scale = _mm512_set1_ps(1.0f), bias = _mm512_setzero_ps();
      if (target.is_last) {
        scale = _mm512_loadu_ps(target.row_scales + col);
        if (target.bias) bias = _mm512_loadu_ps(target.bias + col);
      }
      for (int row = 0; row < kRows; ++row)
        _mm512_storeu_ps(target.y + row * target.stride + col,
                         _mm512_fmadd_ps(_mm512_load_ps(totals[row] + col), scale, bias));
    }
  }
};

// total += sum * (scale of the columns * scale of x)
HWY_INLINE void AddScaled(__m512i sum, __m512 scale, float x_scale, float* total) {
  const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(x_scale));
  _mm512_store_ps(total, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), both, _mm512_load_ps(total)));
}

// 24 sums, 2 vectors of W and 1 of x, of 32 registers.
constexpr int kVectorHeight = 12;
struct InVectors : Rotated<kVectorHeight> {
  // The last rows of x seldom fill a tile.
  void multiply(const Panels& panels, int64_t row_tile, int64_t first, int64_t count,
                const Target& target) const {
    if (target.height <= 4)
      Multiply<4>(panels, row_tile, first, count, target);
    else if (target.height <= 8)
      Multiply<8>(panels, row_tile, first, count, target);
    else
      Multiply<kVectorHeight>(panels, row_tile, first, count, target);
  }

  template <int kRows>
  HWY_NOINLINE void Multiply(const Panels& panels, int64_t row_tile, int64_t first, int64_t count,
                             const Target& target) const {
    AddUp<kRows>(
        panels, row_tile, first, count, target,
        [](const uint8_t* x_group, const float* x_scales, const PanelGroup& left, const PanelGroup& right,
           int64_t quads, float(*totals)[kWidth]) VLM_ATTR_OF_FOURS {
          __m512i sums[kRows][2];
          const __m512i start[2] = {_mm512_load_si512(left.starts), _mm512_load_si512(right.starts)};
#pragma GCC unroll 16
          for (auto& row : sums) row[0] = start[0], row[1] = start[1];
          for (int64_t quad = 0; quad < quads; ++quad) {
            const __m512i w0 = _mm512_load_si512(left.pieces + quad * kTileRows);
            const __m512i w1 = _mm512_load_si512(right.pieces + quad * kTileRows);
#pragma GCC unroll 16
            for (int row = 0; row < kRows; ++row) {
              __m512i four;
              // In assembler because GCC 12 copies every sum before and after its intrinsic.
              asm("vpbroadcastd %[x], %[four]\n\t"
                  "vpdpbusd %[w0], %[four], %[sum0]\n\t"
                  "vpdpbusd %[w1], %[four], %[sum1]"
                  : [sum0] "+v"(sums[row][0]), [sum1] "+v"(sums[row][1]), [four] "=&v"(four)
                  : [w0] "v"(w0), [w1] "v"(w1),
                    [x] "m"(*reinterpret_cast<const int32_t*>(x_group + row * kLongGroup + quad * 4)));
            }
          }
          // Totals stay in memory: the compiler would keep a second copy of them there, as registers spilt.
          asm("" : : "r"(totals) : "memory");
#pragma GCC unroll 2
          for (int half = 0; half < 2; ++half) {
            const __m512 scale = _mm512_load_ps((half == 0 ? left : right).scales);
#pragma GCC unroll 16
            for (int row = 0; row < kRows; ++row)
              AddScaled(sums[row][half], scale, x_scales[row], totals[row] + half * kTileRows);
          }
        });
  }
};

// Four tiles of sums, two of x and two of W, of eight.
constexpr int kTilesHeight = 2 * kRowsOfTile;
template <class Tiles>
struct InTiles : Rotated<kTilesHeight> {
  HWY_NOINLINE void multiply(const Panels& panels, int64_t row_tile, int64_t first, int64_t count,
                             const Target& target) const {
    const Tiles tiles;
    AddUp<kTilesHeight>(
        panels, row_tile, first, count, target,
        [&](const uint8_t* x_group, const float* x_scales, const PanelGroup& left, const PanelGroup& right,
            int64_t quads, float(*totals)[kWidth]) VLM_ATTR_OF_FOURS {
          alignas(64) int32_t sums[kTilesHeight][kWidth];
          multiply_in_tiles(tiles, quads, x_group, kLongGroup, left.pieces, right.pieces, sums[0], kWidth);
          for (int half = 0; half < 2; ++half) {
            const PanelGroup& panel = half == 0 ? left : right;
            const __m512 scale = _mm512_load_ps(panel.scales);
            const __m512i start = _mm512_load_si512(panel.starts);
            for (int row = 0; row < kTilesHeight; ++row) {
              const __m512i sum = _mm512_load_si512(sums[row] + half * kTileRows);
              AddScaled(_mm512_add_epi32(sum, start), scale, x_scales[row], totals[row] + half * kTileRows);
            }
          }
        });
  }
};

// `above` [rows] as find_massive() tells it, found here row by row if it `finds`: a row comes from memory
// once.
template <int kHeight>
void RoundRows(const Product& product, int64_t in, bool finds, float* above, uint8_t* x, float* scales) {
  const int64_t row_tiles = (product.rows + kHeight - 1) / kHeight, groups = long_groups_of(in);
  for_each_balanced(row_tiles, 8 * product.rows * groups * kLongGroup, [=](int64_t tile) {
    for (int64_t line = 0; line < kHeight; ++line) {
      const int64_t row = HWY_MIN(tile * kHeight + line, product.rows - 1);
      const float* from = product.x + row * product.x_stride;
      if (finds && row == tile * kHeight + line) above[row] = massive_above(from, in);
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t at = (tile * groups + group) * kHeight + line, first = group * kLongGroup;
        uint8_t* to = x + at * kLongGroup;
        scales[at] = long_group_width(first, in) == kLongGroup
                         ? RoundRotated<kLongGroup / 16>(from + first, in - first, above[row], to)
                         : RoundRotated<kHalfLongGroup / 16>(from + first, in - first, above[row], to);
      }
    }
  });
}

template <class Kernel>
void Run(std::span<const QuantisedProduct> products) {
  constexpr int64_t kHeight = Kernel::kTileHeight;
  const Product& first = products.front().product;
  const QuantisedMatrix& shape = *products.front().weight;
  const int64_t row_tiles = (first.rows + kHeight - 1) / kHeight;
  const int64_t count = row_tiles * long_groups_of(shape.in) * kHeight;
  static thread_local Scratch scratch;
  static thread_local std::vector<Massive> massive;
  uint8_t* x = scratch.get<uint8_t>(count * kLongGroup + (count + first.rows) * 4);
  float* scales = reinterpret_cast<float*>(x + count * kLongGroup);
  float* above = scales + count;
  RoundRows<kHeight>(first, shape.in, true, above, x, scales);
  collect_massive(first, shape.in, above, massive);
  if (!keep_few_massive(first.rows, above, massive))
    RoundRows<kHeight>(first, shape.in, false, above, x, scales);
  for (const auto& [product, weight] : products) {
    Product plain = product;
    if (!massive.empty()) plain.function = Function::identity, plain.factor = nullptr;
    multiply_blocked(Kernel{{*weight, x, scales}}, plain, weight->out, weight->row_scales);
    if (massive.empty()) continue;
    add_massive(massive, product, *weight);
    if (product.has_function()) apply(product.function_of_sums(0, 0, product.rows, weight->out));
  }
}

bool AreManyRowsRotated() {
  return true;
}

void ManyRowsRotated(std::span<const QuantisedProduct> products) {
  switch (tile_use()) {
    case TileUse::none:
      return Run<InVectors>(products);
    case TileUse::machine:
      return Run<InTiles<MachineTiles>>(products);
    case TileUse::emulated:
      return Run<InTiles<EmulatedTiles>>(products);
  }
}

#else

bool AreManyRowsRotated() {
  return HWY_TARGET == HWY_AVX2 && chosen_target() == kAvxVnni;
}
void ManyRowsRotated(std::span<const QuantisedProduct>) {}

#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(AreManyRowsRotated);
HWY_EXPORT(ManyRowsRotated);

bool are_many_rows_rotated() {
  return HWY_DYNAMIC_DISPATCH(AreManyRowsRotated)();
}

void many_rows_rotated(std::span<const QuantisedProduct> products) {
  HWY_DYNAMIC_DISPATCH(ManyRowsRotated)(products);
}

}  // namespace vlm::kernels
#endif
