#include <cstring>

#include "kernels/blocked.h"
#include "kernels/massive.h"
#include "kernels/product.h"
#include "kernels/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/many_rows_quantised.cc"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
#include "kernels/arithmetic-inl.h"
#include "kernels/group-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vlm::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET == HWY_AVX3_DL

void ManyRowsQuantised(std::span<const QuantisedProduct> products) {
  many_rows_rotated(products);
}

#else

// Splits 16-bit halves of bytes: sign-extends the low or the high byte of each. So a pair is inputs 0 and 2,
// or 1 and 3, of four; the order does not matter as long as W and x agree.
template <class D>
HWY_INLINE hn::Vec<D> LowBytes(D, hn::Vec<D> v) {
  return hn::ShiftRight<8>(hn::ShiftLeft<8>(v));
}

template <int64_t kTarget, int kBits>
struct Kernel {
  using Arith = Arithmetic<kTarget, kBits>;
  static constexpr int64_t kTileHeight = kHeight, kPanels = kPanelsAtOnce;
  static constexpr int kParts = Arith::kParts;
  static constexpr int kRowPieces = 8 * kParts;                    // 32-bit pieces of a group of a row
  static constexpr int64_t kGroupPieces = kRowPieces * kTileRows;  // of a group in a panel

  const QuantisedMatrix& weight;
  const int32_t* x;       // [row tiles, groups, kHeight, kParts, 8]
  const float* scales;    // [row tiles, groups, kHeight]
  const float* sums;      // the same; of the quants, what a minimum is multiplied by
  const int32_t* starts;  // the same; what sums start at, since W's bytes are moved up

  int64_t input_count() const { return weight.in; }
  int64_t step_count() const { return GroupsOf(weight); }
  static int64_t GroupsOf(const QuantisedMatrix& weight) {
    return kRotatesAll<kTarget> ? rotated_width(weight.in) / kGroup : weight.groups();
  }
  // 16 KB of quants: half of the first-level cache.
  int64_t step_block() const { return 16384 / (kGroupPieces * 4 * kPanels); }
  // A panel: pieces of all groups, then scales of all groups, then minimums, then whether any of these is not
  // 0. Where they begin in a panel of `count` groups, in words of 4 bytes:
  static constexpr int64_t ScalesAt(int64_t count) { return count * kGroupPieces; }
  static constexpr int64_t MinimumsAt(int64_t count) { return ScalesAt(count) + count * kTileRows; }
  static constexpr int64_t HasMinimumsAt(int64_t count) { return MinimumsAt(count) + count * kTileRows; }

  int64_t panel_bytes(int64_t groups) const { return (HasMinimumsAt(groups) + 1) * 4; }

  void expand(uint8_t* panel, int64_t tile, int64_t first, int64_t count) const {
    int32_t* words = reinterpret_cast<int32_t*>(panel);
    int32_t& has_minimums = words[HasMinimumsAt(count)];
    has_minimums = 0;
    if (kRotatesAll<kTarget> && !weight.is_rotated) {
      float* scales_to = reinterpret_cast<float*>(words + ScalesAt(count));
      for (int64_t group = 0; group < count; group += kGroupsOfLong)
        ExpandRotated(tile, first + group, words + group * kGroupPieces, scales_to + group * kTileRows);
      return;
    }
    for (int64_t group = 0; group < count; ++group) {
      const uint8_t* block = weight.quants(tile, first + group);
      int32_t* pieces_to = words + group * kGroupPieces;
      float* scales_to = reinterpret_cast<float*>(words + ScalesAt(count)) + group * kTileRows;
      float* minimums_to = reinterpret_cast<float*>(words + MinimumsAt(count)) + group * kTileRows;
      ExpandHalves(weight.scales(tile, first + group), scales_to);
      bool is_whole = false;  // nothing left to the minimums
      if (weight.has_minimums) {
        ExpandHalves(weight.minimums(tile, first + group), minimums_to);
        if constexpr (kBits == 4 && Arith::kTakesBytes)
          is_whole = ExpandEighths(block, scales_to, minimums_to, pieces_to);
        if (!is_whole) has_minimums = 1;
      } else {
        std::memset(minimums_to, 0, kTileRows * sizeof(float));
      }
      if (!is_whole) ExpandQuants(block, pieces_to);
      if constexpr (Arith::kInPairs) Arith::PairColumns(pieces_to);
      if constexpr (Arith::kOffset != 0) MoveUp(pieces_to);
    }
  }

  // Of a long group, rotated and rounded again; its first group's scales are those of all.
  HWY_NOINLINE void ExpandRotated(int64_t tile, int64_t first, int32_t* pieces, float* scales_to) const {
    const DFloat d;
    const DInt d_int;
    HWY_ALIGN float columns[kLongGroup * kTileRows];
    const int64_t count = HWY_MIN(kGroupsOfLong, weight.groups() - first);
    const int64_t width = long_group_width(first * kGroup, weight.in);
    for (int64_t group = 0; group < count; ++group)
      DequantiseGroup(tile, first + group, kRotationSigns.of + group * kGroup,
                      columns + group * kGroup * kTileRows);
    std::memset(columns + count * kGroup * kTileRows, 0,
                static_cast<size_t>((width - count * kGroup) * kTileRows) * sizeof(float));
    TransformColumns(columns, width);
#pragma GCC unroll 4
    for (int64_t lane = 0; lane < kTileRows; lane += kLanes) {
      // Four maxima, so that none waits for the one before.
      VFloat mosts[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
      for (int64_t input = 0; input < width; input += 4)
#pragma GCC unroll 4
        for (int64_t at = 0; at < 4; ++at)
          mosts[at] = hn::Max(mosts[at], hn::Abs(hn::Load(d, columns + (input + at) * kTileRows + lane)));
      const VFloat most = hn::Max(hn::Max(mosts[0], mosts[1]), hn::Max(mosts[2], mosts[3]));
      const VFloat inverse = hn::IfThenElseZero(hn::Gt(most, hn::Zero(d)), hn::Div(hn::Set(d, 127.0f), most));
      hn::Store(hn::Mul(most, hn::Set(d, 1.0f / 127.0f / rotated_length(width))), d, scales_to + lane);
      for (int64_t quad = 0; quad < width / 4; ++quad) {
        VInt piece = hn::Zero(d_int);
#pragma GCC unroll 4
        for (int64_t at = 3; at >= 0; --at) {
          const VFloat value = hn::Load(d, columns + (quad * 4 + at) * kTileRows + lane);
          const VInt quant = hn::NearestInt(hn::Mul(value, inverse));
          piece = hn::Or(hn::ShiftLeft<8>(piece), hn::And(quant, hn::Set(d_int, 255)));
        }
        hn::Store(piece, d_int, pieces + quad * kTileRows + lane);
      }
    }
    for (int64_t group = 0; group < width / kGroup; ++group) MoveUp(pieces + group * kGroupPieces);
  }

  // [32 inputs, 16 columns], without the scales of rows, times the signs of the inputs.
  HWY_INLINE void DequantiseGroup(int64_t tile, int64_t group, const float* signs, float* to) const {
    const DFloat d;
    const DInt d_int;
    HWY_ALIGN float scales_of[kTileRows], minimums_of[kTileRows] = {};
    ExpandHalves(weight.scales(tile, group), scales_of);
    if (weight.has_minimums) ExpandHalves(weight.minimums(tile, group), minimums_of);
    const uint8_t* block = weight.quants(tile, group);
    constexpr int64_t kInputsOfPiece = kBits == 8 ? 4 : 8;
#pragma GCC unroll 4
    for (int64_t lane = 0; lane < kTileRows; lane += kLanes) {
      const VFloat scale = hn::Load(d, scales_of + lane), minimum = hn::Load(d, minimums_of + lane);
      for (int64_t input = 0; input < kGroup; input += kInputsOfPiece) {
        const VInt piece = hn::LoadU(
            d_int, reinterpret_cast<const int32_t*>(block) + input / kInputsOfPiece * kTileRows + lane);
#pragma GCC unroll 8
        for (int at = 0; at < kInputsOfPiece; ++at) {
          const VInt quant =
              kBits == 8 ? hn::ShiftRight<24>(hn::ShiftLeftSame(piece, 24 - 8 * at))
                         : hn::And(hn::ShiftRightSame(piece, at % 4 * 8 + at / 4 * 4), hn::Set(d_int, 15));
          const VFloat signed_scale = hn::Mul(scale, hn::Set(d, signs[input + at]));
          hn::Store(hn::Mul(hn::Add(hn::ConvertTo(d, quant), minimum), signed_scale), d,
                    to + (input + at) * kTileRows + lane);
        }
      }
    }
  }

  static HWY_INLINE void MoveUp(int32_t* pieces) {
    const DInt d;
    const VInt signs = hn::Set(d, static_cast<int32_t>(0x80808080));
    for (int64_t idx = 0; idx < kGroupPieces; idx += kLanes)
      hn::Store(hn::Xor(hn::Load(d, pieces + idx), signs), d, pieces + idx);
  }

  static HWY_INLINE void ExpandHalves(const uint8_t* from, float* to) {
    const DFloat d;
    const hn::Rebind<hwy::float16_t, DFloat> d_half;
    for (int vector = 0; vector < kPanelVectors; ++vector)
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
    } else if constexpr (kParts == 2) {
      const hn::Repartition<int16_t, decltype(d)> d_signed;
      for (size_t idx = 0; idx < 512; idx += lanes) {
        auto v = hn::BitCast(d_signed, hn::LoadU(d, from + idx));
        size_t at = idx / 64 * 128 + idx % 64;
        hn::StoreU(hn::BitCast(d, LowBytes(d_signed, v)), d, bytes + at);
        hn::StoreU(hn::BitCast(d, hn::ShiftRight<8>(v)), d, bytes + at + 64);
      }
    } else {
      std::memcpy(to, from, 512);
    }
  }

  // If all 16 minimums are whole eighths that leave values in a byte: 8 * quant + eighths, for scales of an
  // eighth and no minimums, which spares an operation for each row and group.
  static HWY_INLINE bool ExpandEighths(const uint8_t* from, float* scales, float* minimums, int32_t* to) {
    const DFloat d;
    const DInt d_int;
    HWY_ALIGN int32_t eighths[kTileRows];
    for (int vector = 0; vector < kPanelVectors; ++vector) {
      const VFloat wanted = hn::Mul(hn::Load(d, minimums + vector * kLanes), hn::Set(d, 8.0f));
      const VInt whole = hn::NearestInt(wanted);
      const auto fits =
          hn::And(hn::Eq(hn::ConvertTo(d, whole), wanted),
                  hn::And(hn::Ge(wanted, hn::Set(d, -128.0f)), hn::Le(wanted, hn::Set(d, 7.0f))));
      if (!hn::AllTrue(d, fits)) return false;
      // The same in each of four bytes.
      VInt byte = hn::And(whole, hn::Set(d_int, 255));
      byte = hn::Or(byte, hn::ShiftLeft<8>(byte));
      hn::Store(hn::Or(byte, hn::ShiftLeft<16>(byte)), d_int, eighths + vector * kLanes);
    }
    for (int vector = 0; vector < kPanelVectors; ++vector) {
      float* scale = scales + vector * kLanes;
      hn::Store(hn::Mul(hn::Load(d, scale), hn::Set(d, 0.125f)), d, scale);
      hn::Store(hn::Zero(d), d, minimums + vector * kLanes);
    }
    const hn::CappedTag<uint8_t, 64> d_byte;
    const auto mask = hn::Set(d_byte, 15 * 8);
    uint8_t* bytes = reinterpret_cast<uint8_t*>(to);
    for (size_t idx = 0; idx < 256; idx += hn::Lanes(d_byte)) {
      const auto start = hn::LoadU(d_byte, reinterpret_cast<const uint8_t*>(eighths) + idx % 64);
      const auto both = hn::LoadU(d_byte, from + idx);
      const size_t at = idx / 64 * 128 + idx % 64;
      hn::StoreU(hn::Add(hn::And(hn::ShiftLeft<3>(both), mask), start), d_byte, bytes + at);
      hn::StoreU(hn::Add(hn::And(hn::ShiftRight<1>(both), mask), start), d_byte, bytes + at + 64);
    }
    return true;
  }

  void multiply(const Panels& panels, int64_t row_tile, int64_t first, int64_t count,
                const Target& target) const {
    bool has_minimums = false;
    for (int64_t panel = 0; panel < kPanels; ++panel)
      has_minimums |=
          reinterpret_cast<const int32_t*>(panels.first + panel * panels.stride)[HasMinimumsAt(count)] != 0;
    if (has_minimums)
      Multiply<true, 1>(panels, row_tile, first, count, target);
    else if ((kRotatesAll<kTarget> || weight.is_rotated) && !Arith::kInPairs)
      Multiply<false, kGroupsOfLong>(panels, row_tile, first, count, target);
    else
      Multiply<false, 1>(panels, row_tile, first, count, target);
  }

  // Sums of kTogether groups, which share scales, are scaled once.
  template <bool kMinimums, int64_t kTogether>
  HWY_NOINLINE void Multiply(const Panels& panels, int64_t row_tile, int64_t first, int64_t count,
                             const Target& target) const {
    const DFloat d;
    const DInt d_int;
    const int64_t start = (row_tile * step_count() + first) * kHeight;
    const int32_t* pieces = reinterpret_cast<const int32_t*>(panels.first);
    // From a micro-tile's first vector of a piece, a scale or a minimum to the others.
    auto at = [next = panels.stride / 4](int vector) {
      return vector / kPanelVectors * next + vector % kPanelVectors * kLanes;
    };
    const float* w_scales = reinterpret_cast<const float*>(pieces + ScalesAt(count));
    const float* w_minimums = reinterpret_cast<const float*>(pieces + MinimumsAt(count));
    const int32_t* x_pieces = x + start * kRowPieces;
    const float* x_scales = scales + start;
    const float* x_sums = sums + start;
    const int32_t* x_starts = starts + start;

    // AVX2 has no registers left for these; the compiler is told so, or it would spill the sums instead.
    constexpr int64_t kWidth = kPanels * kTileRows;
    HWY_ALIGN float total_memory[kHeight * kWidth];
    float* totals = total_memory;
    if (kLanes < 16) asm("" : "+r"(totals) : : "memory");
#pragma GCC unroll 16
    for (int row = 0; row < kHeight; ++row)
#pragma GCC unroll 16
      for (int vector = 0; vector < kVectors; ++vector)
        hn::Store(
            target.is_first ? hn::Zero(d) : hn::LoadU(d, target.y + row * target.stride + vector * kLanes), d,
            totals + row * kWidth + vector * kLanes);

    for (int64_t group = 0; group < count; group += kTogether) {
      VInt group_sums[kHeight][kVectors];
      const int64_t together = HWY_MIN(kTogether, count - group);
      if constexpr (Arith::kInPairs) {
        Arith::AddGroup(group_sums, pieces, x_pieces);
        pieces += kGroupPieces;
        x_pieces += kHeight * kRowPieces;
      } else {
#pragma GCC unroll 16
        for (int row = 0; row < kHeight; ++row)
#pragma GCC unroll 16
          for (int vector = 0; vector < kVectors; ++vector)
            group_sums[row][vector] = Arith::kOffset != 0 ? hn::Set(d_int, x_starts[row]) : hn::Zero(d_int);
        for (int64_t one = 0; one < together; ++one) {
#pragma GCC unroll 8
          for (int quad = 0; quad < 8; ++quad)
#pragma GCC unroll 2
            for (int part = 0; part < kParts; ++part) {
              VInt w[kVectors];
#pragma GCC unroll 16
              for (int vector = 0; vector < kVectors; ++vector)
                w[vector] = hn::Load(d_int, pieces + at(vector));
#pragma GCC unroll 16
              for (int row = 0; row < kHeight; ++row)
                Arith::AddPiece(group_sums[row], w, x_pieces + row * kRowPieces + part * 8 + quad);
              pieces += kTileRows;
            }
          x_pieces += kHeight * kRowPieces;
        }
      }
#pragma GCC unroll 16
      for (int vector = 0; vector < kVectors; ++vector) {
        VFloat scale = hn::Load(d, w_scales + at(vector));
        VFloat minimum = hn::Zero(d);
        if (kMinimums) minimum = hn::Load(d, w_minimums + at(vector));
#pragma GCC unroll 16
        for (int row = 0; row < kHeight; ++row) {
          VFloat value = hn::ConvertTo(d, Finish<kTarget, kBits>(group_sums[row][vector]));
          if (kMinimums) value = hn::MulAdd(minimum, hn::Set(d, x_sums[row]), value);
          float* total = totals + row * kWidth + vector * kLanes;
          hn::Store(hn::MulAdd(hn::Mul(value, scale), hn::Set(d, x_scales[row]), hn::Load(d, total)), d,
                    total);
        }
      }
      w_scales += together * kTileRows;
      if (kMinimums) w_minimums += kTileRows;
      x_scales += together * kHeight;
      x_sums += kHeight;
      x_starts += together * kHeight;
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
        hn::StoreU(hn::MulAdd(hn::Load(d, totals + row * kWidth + vector * kLanes), scale, bias), d,
                   target.y + row * target.stride + vector * kLanes);
    }
  }
};

// Rounds x into the tiles that the micro-kernel walks: rotated with one scale for a long group, else with one
// for 32 inputs. Where they are rotated, `above` [rows] is as find_massive() tells it, found here if it
// `finds`.
template <int64_t kTarget, int kBits>
void RoundRows(const Product& product, const QuantisedMatrix& shape, bool finds, float* above, int32_t* x,
               float* scales, float* sums, int32_t* starts) {
  using Arith = Arithmetic<kTarget, kBits>;
  constexpr int kRowPieces = Kernel<kTarget, kBits>::kRowPieces;
  const int64_t row_tiles = (product.rows + kHeight - 1) / kHeight,
                groups = Kernel<kTarget, kBits>::GroupsOf(shape);
  const bool rotates = kRotatesAll<kTarget> || shape.is_rotated;
  auto lay_down = [=](const int8_t* quants, const RoundedGroup& rounded, int64_t tile, int64_t line,
                      int64_t group) HWY_ATTR {
    const int64_t at = (tile * groups + group) * kHeight + line;
    scales[at] = rounded.scale;
    sums[at] = static_cast<float>(rounded.sum);
    starts[at] = -Arith::kOffset * rounded.sum;
    int32_t* to = x + at * kRowPieces;
    if constexpr (Arith::kInPairs) {
      to = x + (at - line % 2) * kRowPieces + line % 2 * 2;
      for (int64_t octet = 0; octet < 4; ++octet) std::memcpy(to + octet * 4, quants + octet * 8, 8);
    } else if constexpr (Arith::kParts == 1) {
      std::memcpy(to, quants, kGroup);
    } else {
      const hn::CappedTag<int16_t, 16> d;
      auto v = hn::Load(d, reinterpret_cast<const int16_t*>(quants));
      hn::StoreU(LowBytes(d, v), d, reinterpret_cast<int16_t*>(to));
      hn::StoreU(hn::ShiftRight<8>(v), d, reinterpret_cast<int16_t*>(to + 8));
    }
  };
  for_each_balanced(row_tiles, 8 * product.rows * groups * kGroup, [=](int64_t tile) {
    HWY_ALIGN float buffer[kLongGroup];
    HWY_ALIGN int8_t quants[kLongGroup] = {};
    for (int64_t line = 0; line < kHeight; ++line) {
      const int64_t row = tile * kHeight + line;
      const bool is_row = row < product.rows;
      if (!is_row) std::memset(quants, 0, sizeof quants);
      if (is_row && finds) above[row] = massive_above(product.x + row * product.x_stride, shape.in);
      for (int64_t first = 0; first < groups; first += kGroupsOfLong) {
        RoundedGroup rounded{0.0f, 0};
        LongGroup from{};
        if (is_row)
          from = LongGroupOf(product.x + row * product.x_stride, first / kGroupsOfLong, shape.in,
                             rotates ? above + row : nullptr, buffer);
        if (is_row && rotates) rounded = RoundGroup(from.x, static_cast<size_t>(from.count), quants);
        for (int64_t group = 0; group < HWY_MIN(kGroupsOfLong, groups - first); ++group) {
          int8_t* of_group = quants + group * kGroup;
          if (is_row && !rotates) rounded = RoundActivations(from.x, group * kGroup, from.count, of_group);
          lay_down(of_group, rounded, tile, line, first + group);
        }
      }
    }
  });
}

template <int64_t kTarget, int kBits>
void RunBits(std::span<const QuantisedProduct> products) {
  constexpr int kRowPieces = Kernel<kTarget, kBits>::kRowPieces;
  const Product& first = products.front().product;
  const QuantisedMatrix& shape = *products.front().weight;
  const int64_t row_tiles = (first.rows + kHeight - 1) / kHeight;
  const int64_t count = row_tiles * Kernel<kTarget, kBits>::GroupsOf(shape) * kHeight;
  static thread_local Scratch scratch;
  static thread_local std::vector<Massive> massive;
  int32_t* x = scratch.get<int32_t>(count * (kRowPieces + 3) + first.rows);
  float* scales = reinterpret_cast<float*>(x + count * kRowPieces);
  float* sums = scales + count;
  int32_t* starts = reinterpret_cast<int32_t*>(sums + count);
  float* above = reinterpret_cast<float*>(starts + count);
  const bool rotates = kRotatesAll<kTarget> || shape.is_rotated;
  massive.clear();
  RoundRows<kTarget, kBits>(first, shape, rotates, above, x, scales, sums, starts);
  if (rotates) {
    collect_massive(first, shape.in, above, massive);
    if (!keep_few_massive(first.rows, above, massive))
      RoundRows<kTarget, kBits>(first, shape, false, above, x, scales, sums, starts);
  }
  for (const auto& [product, weight] : products) {
    Product plain = product;
    if (!massive.empty()) plain.function = Function::identity, plain.factor = nullptr;
    multiply_blocked(Kernel<kTarget, kBits>{*weight, x, scales, sums, starts}, plain, weight->out,
                     weight->row_scales);
    if (massive.empty()) continue;
    add_massive(massive, product, *weight);
    if (product.has_function()) apply(product.function_of_sums(0, 0, product.rows, weight->out));
  }
}

template <int64_t kTarget>
void Run(std::span<const QuantisedProduct> products) {
  if (products.front().weight->bits == 8)
    RunBits<kTarget, 8>(products);
  else
    RunBits<kTarget, 4>(products);
}

void ManyRowsQuantised(std::span<const QuantisedProduct> products) {
#if HWY_ARCH_ARM_A64
  if (chosen_target() == kNeonI8mm) return Run<kNeonI8mm>(products);
  if (chosen_target() == kNeonDotProd) return Run<kNeonDotProd>(products);
#endif
#if HWY_TARGET == HWY_AVX2
  if (chosen_target() == kAvxVnni) return Run<kAvxVnni>(products);
#endif
  Run<HWY_TARGET>(products);
}

#endif

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace vlm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vlm::kernels {

HWY_EXPORT(ManyRowsQuantised);

void many_rows_quantised_together(std::span<const QuantisedProduct> products) {
  HWY_DYNAMIC_DISPATCH(ManyRowsQuantised)(products);
}

void many_rows_quantised(const Product& product, const QuantisedMatrix& weight) {
  const QuantisedProduct one{product, &weight};
  many_rows_quantised_together({&one, 1});
}

}  // namespace vlm::kernels
#endif
