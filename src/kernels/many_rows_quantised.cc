#include "kernels/blocked.h"
#include "kernels/product.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/many_rows_quantised.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/group-inl.h"

// Highway 1.0.3 knows the CPUs with VNNI as AVX3_DL but does not let the compiler use it.
#if HWY_TARGET == HWY_AVX3_DL
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
#else
HWY_BEFORE_NAMESPACE();
#endif
namespace vlm::kernels {
namespace HWY_NAMESPACE {

using DFloat = hn::CappedTag<float, 16>;
using DInt = hn::RebindToSigned<DFloat>;
using VInt = hn::Vec<DInt>;
using VFloat = hn::Vec<DFloat>;
constexpr int kLanes = HWY_MIN(HWY_LANES(float), 16);
constexpr int kVectors = static_cast<int>(kTileRows) / kLanes;
// AVX2: 6 x 2 sums, 2 vectors of W, 1 of x and 1 product fill the 16 registers. AVX-512: 12 sums in 32-bit
// integers and 12 in float, of 32 registers.
constexpr int kHeight = kLanes == 16 ? 12 : 6;

// How a step multiplies: `kSteps` of them make a group; x and W lie as 32-bit pieces of as many inputs.
#if HWY_TARGET == HWY_AVX3_DL

// Unsigned by signed: 8-bit weights are moved up by 128, and sums start at -128 times the sum of x.
template <int kBits>
struct Arithmetic {
  static constexpr int kSteps = 8;
  static constexpr bool kStartsAtSum = kBits == 8;
  static HWY_INLINE void Add(VInt& sum, VInt w, VInt x) {
    sum.raw = _mm512_dpbusd_epi32(sum.raw, w.raw, x.raw);
  }
};

#elif HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

#if HWY_TARGET == HWY_AVX2
#define VLM_X86(name) _mm256_##name
#else
#define VLM_X86(name) _mm512_##name
#endif

template <int kBits>
struct Arithmetic;

// 8 bits: both widened to 16, where products of 32-bit pairs are exact.
template <>
struct Arithmetic<8> {
  static constexpr int kSteps = 16;
  static constexpr bool kStartsAtSum = false;
  static HWY_INLINE void Add(VInt& sum, VInt w, VInt x) {
    sum.raw = VLM_X86(add_epi32)(sum.raw, VLM_X86(madd_epi16)(w.raw, x.raw));
  }
};

// 4 bits: the 16 products of a group that share 16 bits are at most 15 * 127 each, 30480 together.
template <>
struct Arithmetic<4> {
  static constexpr int kSteps = 8;
  static constexpr bool kStartsAtSum = false;
  static HWY_INLINE void Add(VInt& sum, VInt w, VInt x) {
    sum.raw = VLM_X86(add_epi16)(sum.raw, VLM_X86(maddubs_epi16)(w.raw, x.raw));
  }
};

#else

template <int kBits>
struct Arithmetic {
  static constexpr int kSteps = 8;
  static constexpr bool kStartsAtSum = false;
  static HWY_INLINE void Add(VInt& sum, VInt w, VInt x) {
    for (int byte = 0; byte < 4; ++byte) {
      auto take = [&](VInt v) { return hn::ShiftRight<24>(hn::ShiftLeftSame(v, 24 - 8 * byte)); };
      sum = hn::Add(sum, hn::Mul(take(w), take(x)));
    }
  }
};

#endif

// Sums of a group as 32-bit integers.
template <int kBits>
HWY_INLINE VInt Finish(VInt sum) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  if (kBits == 4) sum.raw = VLM_X86(madd_epi16)(sum.raw, VLM_X86(set1_epi16)(1));
#endif
  return sum;
}

// Splits 16-bit halves of bytes: sign-extends the low or the high byte of each. So a pair is inputs 0 and 2,
// or 1 and 3, of four; the order does not matter as long as W and x agree.
template <class D>
HWY_INLINE hn::Vec<D> LowBytes(D, hn::Vec<D> v) {
  return hn::ShiftRight<8>(hn::ShiftLeft<8>(v));
}

template <int kBits>
struct Kernel {
  using Arith = Arithmetic<kBits>;
  static constexpr int64_t kTileHeight = kHeight;
  static constexpr int kSteps = Arith::kSteps;
  static constexpr int64_t kGroupPieces = kSteps * kTileRows;  // 32-bit pieces of a group in a panel

  const QuantisedMatrix& weight;
  const int32_t* x;     // [row tiles, groups, kSteps, kHeight]
  const float* scales;  // [row tiles, groups, kHeight]
  const int32_t* sums;  // [row tiles, groups, kHeight]

  int64_t step_count() const { return weight.groups(); }
  // 16 KB of quants: half of the first-level cache.
  int64_t step_block() const { return 16384 / (kGroupPieces * 4); }
  int64_t scale_count() const { return kTileRows * (weight.has_minimums ? 2 : 1); }
  int64_t panel_bytes(int64_t groups) const { return groups * (kGroupPieces + scale_count()) * 4; }

  // A panel: pieces of all groups, then scales of all groups, then minimums.
  void expand(uint8_t* panel, int64_t tile, int64_t first, int64_t count) const {
    int32_t* pieces = reinterpret_cast<int32_t*>(panel);
    float* scales_to = reinterpret_cast<float*>(pieces + count * kGroupPieces);
    float* minimums_to = scales_to + count * kTileRows;
    for (int64_t group = 0; group < count; ++group) {
      const uint8_t* block = weight.block(tile, first + group);
      ExpandQuants(block, pieces + group * kGroupPieces);
      const uint8_t* scale = block + weight.quant_bytes();
      ExpandHalves(scale, scales_to + group * kTileRows);
      if (weight.has_minimums) ExpandHalves(scale + 2 * kTileRows, minimums_to + group * kTileRows);
    }
  }

  static HWY_INLINE void ExpandHalves(const uint8_t* from, float* to) {
    const DFloat d;
    const hn::Rebind<hwy::float16_t, DFloat> d_half;
    for (int vector = 0; vector < kVectors; ++vector)
      hn::StoreU(hn::PromoteTo(
                     d, hn::LoadU(d_half, reinterpret_cast<const hwy::float16_t*>(from) + vector * kLanes)),
                 d, to + vector * kLanes);
  }

  static HWY_INLINE void ExpandQuants(const uint8_t* from, int32_t* to) {
    const hn::CappedTag<uint8_t, 64> d;
    uint8_t* bytes = reinterpret_cast<uint8_t*>(to);
    const size_t lanes = hn::Lanes(d);
    if constexpr (kBits == 4) {  // 64 bytes hold two steps
      for (size_t idx = 0; idx < 256; idx += lanes) {
        auto both = hn::LoadU(d, from + idx);
        size_t at = idx / 64 * 128 + idx % 64;
        hn::StoreU(hn::And(both, hn::Set(d, 15)), d, bytes + at);
        hn::StoreU(hn::ShiftRight<4>(both), d, bytes + at + 64);
      }
    } else if constexpr (kSteps == 16) {
      const hn::Repartition<int16_t, decltype(d)> d_signed;
      for (size_t idx = 0; idx < 512; idx += lanes) {
        auto v = hn::BitCast(d_signed, hn::LoadU(d, from + idx));
        size_t at = idx / 64 * 128 + idx % 64;
        hn::StoreU(hn::BitCast(d, LowBytes(d_signed, v)), d, bytes + at);
        hn::StoreU(hn::BitCast(d, hn::ShiftRight<8>(v)), d, bytes + at + 64);
      }
    } else {
      const uint8_t offset = Arith::kStartsAtSum ? 128 : 0;
      for (size_t idx = 0; idx < 512; idx += lanes)
        hn::StoreU(hn::Xor(hn::LoadU(d, from + idx), hn::Set(d, offset)), d, bytes + idx);
    }
  }

  void multiply(const uint8_t* panel, int64_t row_tile, int64_t first, int64_t count,
                const Target& target) const {
    if (weight.has_minimums)
      Multiply<true>(panel, row_tile, first, count, target);
    else
      Multiply<false>(panel, row_tile, first, count, target);
  }

  template <bool kMinimums>
  HWY_NOINLINE void Multiply(const uint8_t* panel, int64_t row_tile, int64_t first, int64_t count,
                             const Target& target) const {
    const DFloat d;
    const DInt d_int;
    const int64_t start = (row_tile * weight.groups() + first) * kHeight;
    const int32_t* pieces = reinterpret_cast<const int32_t*>(panel);
    const float* w_scales = reinterpret_cast<const float*>(pieces + count * kGroupPieces);
    const float* w_minimums = w_scales + count * kTileRows;
    const int32_t* x_pieces = x + start * kSteps;
    const float* x_scales = scales + start;
    const int32_t* x_sums = sums + start;

    VFloat totals[kHeight][kVectors];
#pragma GCC unroll 16
    for (int row = 0; row < kHeight; ++row)
#pragma GCC unroll 16
      for (int vector = 0; vector < kVectors; ++vector)
        totals[row][vector] =
            target.is_first ? hn::Zero(d) : hn::LoadU(d, target.y + row * target.stride + vector * kLanes);

    for (int64_t group = 0; group < count; ++group) {
      VInt group_sums[kHeight][kVectors];
#pragma GCC unroll 16
      for (int row = 0; row < kHeight; ++row)
#pragma GCC unroll 16
        for (int vector = 0; vector < kVectors; ++vector)
          group_sums[row][vector] =
              Arith::kStartsAtSum ? hn::ShiftLeft<7>(hn::Set(d_int, -x_sums[row])) : hn::Zero(d_int);
      for (int step = 0; step < kSteps; ++step) {
        VInt w[kVectors];
#pragma GCC unroll 16
        for (int vector = 0; vector < kVectors; ++vector)
          w[vector] = hn::Load(d_int, pieces + vector * kLanes);
#pragma GCC unroll 16
        for (int row = 0; row < kHeight; ++row) {
          VInt broadcast = hn::Set(d_int, x_pieces[row]);
#pragma GCC unroll 16
          for (int vector = 0; vector < kVectors; ++vector)
            Arith::Add(group_sums[row][vector], w[vector], broadcast);
        }
        pieces += kTileRows;
        x_pieces += kHeight;
      }
#pragma GCC unroll 16
      for (int vector = 0; vector < kVectors; ++vector) {
        VFloat scale = hn::Load(d, w_scales + vector * kLanes);
        VFloat minimum = hn::Zero(d);
        if (kMinimums) minimum = hn::Load(d, w_minimums + vector * kLanes);
#pragma GCC unroll 16
        for (int row = 0; row < kHeight; ++row) {
          VFloat value = hn::Mul(hn::ConvertTo(d, Finish<kBits>(group_sums[row][vector])), scale);
          if (kMinimums) value = hn::MulAdd(hn::Set(d, static_cast<float>(x_sums[row])), minimum, value);
          totals[row][vector] = hn::MulAdd(value, hn::Set(d, x_scales[row]), totals[row][vector]);
        }
      }
      w_scales += kTileRows;
      if (kMinimums) w_minimums += kTileRows;
      x_scales += kHeight;
      x_sums += kHeight;
    }

#pragma GCC unroll 16
    for (int vector = 0; vector < kVectors; ++vector) {
      VFloat scale = hn::Set(d, 1.0f), bias = hn::Zero(d);
      if (target.is_last) {
        scale = hn::LoadU(d, target.row_scales + vector * kLanes);
        if (target.bias) bias = hn::LoadU(d, target.bias + vector * kLanes);
      }
#pragma GCC unroll 16
      for (int row = 0; row < kHeight; ++row)
        hn::StoreU(hn::MulAdd(totals[row][vector], scale, bias), d,
                   target.y + row * target.stride + vector * kLanes);
    }
  }
};

// Rounds x into the tiles that the micro-kernel walks.
template <int kSteps>
void RoundRows(const Product& product, int64_t groups, int32_t* x, float* scales, int32_t* sums) {
  const int64_t row_tiles = (product.rows + kHeight - 1) / kHeight;
  for_each_balanced(row_tiles, [=](int64_t tile) {
    for (int64_t line = 0; line < kHeight; ++line) {
      const int64_t row = tile * kHeight + line;
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t at = (tile * groups + group) * kHeight;
        HWY_ALIGN int8_t quants[kGroup] = {};
        RoundedGroup rounded{0.0f, 0};
        if (row < product.rows)
          rounded = RoundActivations(product.x + row * product.x_stride + group * kGroup, quants);
        scales[at + line] = rounded.scale;
        sums[at + line] = rounded.sum;
        int32_t* to = x + at * kSteps + line;
        for (int quad = 0; quad < 8; ++quad) {
          uint32_t four = static_cast<uint32_t>(Quad(quants + quad * 4));
          if (kSteps == 8) {
            to[quad * kHeight] = static_cast<int32_t>(four);
          } else {
            auto pair = [](uint32_t low, uint32_t high) {
              return static_cast<int32_t>(static_cast<uint16_t>(static_cast<int8_t>(low)) |
                                          static_cast<uint32_t>(static_cast<int8_t>(high)) << 16);
            };
            to[2 * quad * kHeight] = pair(four, four >> 16);
            to[(2 * quad + 1) * kHeight] = pair(four >> 8, four >> 24);
          }
        }
      }
    }
  });
}

template <int kBits>
void Run(const Product& product, const QuantisedMatrix& weight) {
  constexpr int kSteps = Kernel<kBits>::kSteps;
  const int64_t row_tiles = (product.rows + kHeight - 1) / kHeight;
  const int64_t count = row_tiles * weight.groups() * kHeight;
  static thread_local Scratch scratch;
  int32_t* x = scratch.get<int32_t>(count * (kSteps + 2));
  float* scales = reinterpret_cast<float*>(x + count * kSteps);
  int32_t* sums = reinterpret_cast<int32_t*>(scales + count);
  RoundRows<kSteps>(product, weight.groups(), x, scales, sums);
  multiply_blocked(Kernel<kBits>{weight, x, scales, sums}, product, weight.out, weight.row_scales);
}

void ManyRowsQuantised(const Product& product, const QuantisedMatrix& weight) {
  if (weight.bits == 8)
    Run<8>(product, weight);
  else
    Run<4>(product, weight);
}

}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();
#undef VLM_X86

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(ManyRowsQuantised);

void many_rows_quantised(const Product& product, const QuantisedMatrix& weight) {
  HWY_DYNAMIC_DISPATCH(ManyRowsQuantised)(product, weight);
}

}  // namespace vlm::kernels
#endif
