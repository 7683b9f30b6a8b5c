// Rows of keys and values in the precision of a cache.
#pragma once

#include <cstdint>

namespace vlm::kernels {

// int8: groups of kKvGroup values share a scale, the largest magnitude / 127; where that is no normal number
// they become zeros.
enum class KvType { f32, f16, int8 };
constexpr int64_t kKvGroup = 32;

// Values that a row takes in memory: of int8 whole groups, zeros behind the last.
constexpr int64_t kv_row_width(KvType type, int64_t width) {
  return type == KvType::int8 ? (width + kKvGroup - 1) / kKvGroup * kKvGroup : width;
}

// [batch, tokens, groups, kv_row_width]: strides in elements of the first three axes, the last has none.
struct KvRows {
  const void* data;
  int64_t strides[3];
  const float* scales;  // of int8: [batch, tokens, groups, width / kKvGroup], rounded up
  int64_t scale_strides[3];
};

// Where rows are stored: [tokens, groups, ...] as above.
struct KvTarget {
  void* data;
  int64_t strides[2];
  float* scales;
  int64_t scale_strides[2];
};
// From floats [tokens, groups, width], whose first two axes have strides. float16 rounds to nearest and stops
// at its largest number.
void store_kv(KvType type, const float* from, int64_t token_stride, int64_t group_stride, int64_t tokens,
              int64_t groups, int64_t width, const KvTarget& to);

}  // namespace vlm::kernels
