// Rows of keys and values in the precision of a cache.
#pragma once

#include <cstdint>

namespace vlm::kernels {

// int8: groups of kKvGroup values share a scale, the largest magnitude / 127; where that is no normal number
// they become zeros. bf16: in tiles, see below.
enum class KvType { f32, f16, int8, bf16 };
constexpr int64_t kKvGroup = 32;

// Values that a row takes in memory: of int8 and bf16 whole groups, zeros behind the last.
constexpr int64_t kv_row_width(KvType type, int64_t width) {
  return type == KvType::int8 || type == KvType::bf16 ? (width + kKvGroup - 1) / kKvGroup * kKvGroup : width;
}

// bfloat16 lies as decoding reads it, line by line: a tile holds so many tokens of one group of heads, first
// kKvGroup features of each, a line of the cache, then the next ones: [width / kKvGroup, tile, kKvGroup].
constexpr int64_t kKeyTile = 16;
constexpr int64_t kValueTile = 64;

// [batch, tokens, groups, kv_row_width]: strides in elements of the first three axes, the last has none.
// bf16: [batch, tiles, groups, ...], and every tile is whole in memory.
struct KvRows {
  const void* data;
  int64_t strides[3];
  const float* scales;  // of int8: [batch, tokens, groups, width / kKvGroup], rounded up
  int64_t scale_strides[3];
  int64_t tile;  // of bf16: kKeyTile or kValueTile
};

// Where rows are stored: [tokens, groups, ...], of bf16 [tiles, groups, ...], as above.
struct KvTarget {
  void* data;
  int64_t strides[2];
  float* scales;
  int64_t scale_strides[2];
  int64_t tile;
  int64_t first;  // of bf16: the first token's place in the first tile
};
// From floats [tokens, groups, width], whose first two axes have strides. 16 bits are rounded to nearest;
// float16 stops at its largest number.
void store_kv(KvType type, const float* from, int64_t token_stride, int64_t group_stride, int64_t tokens,
              int64_t groups, int64_t width, const KvTarget& to);

}  // namespace vlm::kernels
