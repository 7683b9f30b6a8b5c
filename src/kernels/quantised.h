// Matrices quantised in groups of 32 along the input, in the one layout that every kernel reads. The last
// group of a row may be shorter; what fills it up counts for nothing, because products fill x up with zeros.
//
// 16 rows (outputs) form a tile. A tile is a run of blocks, one for each 32 inputs, so that a product walks
// one stream of memory. A block holds
//   8 bits: for each 4 inputs, for each of the 16 rows, 4 int8 values                      512 bytes
//   4 bits: the same with the values of inputs 8v .. 8v+3 in the low and 8v+4 .. 8v+7 in
//           the high half of each byte, values 0 .. 15                                     256 bytes
//   16 scales, float16                                                                      32 bytes
//   16 minimums, float16, when the matrix has them                                          32 bytes
// weight = (quant + minimum) * scale * row_scale; row_scale is a power of two that keeps the scales of a row
// in range. quantise() keeps minimums to whole eighths from -16 to 7/8 wherever a group's values allow it:
// 8 * (quant + minimum) is then a byte, which is what fast products multiply. Rows beyond the last are zero.
//
// A rotated matrix (8 bits, no minimums) keeps weights times the rotation of kernels/rotation.h over the
// square of its length, so that its product with rotated inputs is that of the weights with the inputs. A
// block is of a long group, 256 inputs, or 128 at the end of a row: the values of each 32 as above, one
// behind the other, then 16 scales. What is spread evenly loses little to one scale for so many, and needs
// less memory and time.
#pragma once

#include <cstdint>

#include "kernels/rotation.h"

namespace vlm::kernels {

constexpr int64_t kGroup = 32;
constexpr int64_t kTileRows = 16;
constexpr int64_t kGroupsOfLong = kLongGroup / kGroup;  // groups of a long group
// Of blocks kept in files (weights/packed_file.h): raise it with every change of what the bytes of a matrix
// are, be it the layout above or how weights are rounded.
constexpr int64_t kLayoutVersion = 5;

// The caller owns the memory: `blocks` has blocks_bytes() and is 32-byte aligned, `row_scales` has
// padded_out() values.
struct QuantisedMatrix {
  int bits = 8;  // 8 or 4
  bool has_minimums = false;
  int64_t out = 0;
  int64_t in = 0;  // a multiple of 8
  uint8_t* blocks = nullptr;
  float* row_scales = nullptr;

  bool is_rotated = false;

  int64_t tiles() const { return (out + kTileRows - 1) / kTileRows; }
  int64_t padded_out() const { return tiles() * kTileRows; }
  int64_t groups() const { return ((is_rotated ? rotated_width(in) : in) + kGroup - 1) / kGroup; }
  // Inputs of a group that are there.
  int64_t inputs_of(int64_t group) const { return std::clamp<int64_t>(in - group * kGroup, 0, kGroup); }
  // Of 16 rows: the values of a group, and the scales and minimums behind it or a long group.
  int64_t quant_bytes() const { return kGroup * kTileRows * bits / 8; }
  int64_t halves_bytes() const { return kTileRows * 2 * (has_minimums ? 2 : 1); }
  int64_t tile_bytes() const {
    return groups() * quant_bytes() + (is_rotated ? long_groups_of(in) : groups()) * halves_bytes();
  }
  int64_t blocks_bytes() const { return tiles() * tile_bytes(); }
  uint8_t* quants(int64_t tile, int64_t group) const {
    return blocks + tile * tile_bytes() + group * quant_bytes() +
           (is_rotated ? group / kGroupsOfLong : group) * halves_bytes();
  }
  uint8_t* scales(int64_t tile, int64_t group) const {
    const int64_t last =
        is_rotated ? std::min(group / kGroupsOfLong * kGroupsOfLong + kGroupsOfLong, groups()) - 1 : group;
    return quants(tile, last) + quant_bytes();
  }
  uint8_t* minimums(int64_t tile, int64_t group) const { return scales(tile, group) + 2 * kTileRows; }
};

enum class Float { f32, bf16, f16 };

// Rounds weights [out, in] (rows `row_stride` elements apart) into `to`: 8 bits symmetric, 4 bits with
// minimums, those that leave the smallest sum of squared errors among a few. With `importance` [in] (the mean
// square of each input, say; not negative) each error counts so much, and more candidates are tried; not in a
// rotated matrix, where each of its numbers is of all inputs.
void quantise(const void* weights, Float type, int64_t row_stride, const QuantisedMatrix& to,
              const float* importance = nullptr);

// A file's own groups: int8 [out, in] or two 4-bit values a byte, first in the low half, [out, in / 2];
// scales and minimums [out, groups_per_row], where a row's groups are a multiple of 32 long, or as many as
// to.groups(); weight = quant * scale + minimum. minimums may be null. Where a minimum is more than 2^15
// times the scale, all weights of the group become the minimum. Not into a rotated matrix.
void pack_groups(const void* quants, const float* scales, const float* minimums, int64_t groups_per_row,
                 const QuantisedMatrix& to);
// The inverse, in groups of 32, of a matrix that is not rotated. `minimums` may be null when it has none.
void unpack_groups(const QuantisedMatrix& from, void* quants, float* scales, float* minimums);

void dequantise(const QuantisedMatrix& from, float* weights);  // [out, in]

}  // namespace vlm::kernels
