// The block-quantised element types of GGUF files, expanded to float32 exactly as the formats define them.
// ref: ggml's ggml-common.h (layouts), docs/gguf.md (type numbers)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vlm {

struct BlockFormat {
  uint32_t type;  // the number in the file
  const char* name;
  int64_t block_elements;
  int64_t block_bytes;
  void (*decode)(const uint8_t* block, float* values);  // one block
};

const BlockFormat* find_block_format(uint32_t type);  // null when the type is no block format known here

// `blocks` holds whole blocks; `values` takes as many elements as they have. Uses all threads.
void dequantise(const BlockFormat& format, std::span<const std::byte> blocks, float* values);

}  // namespace vlm
