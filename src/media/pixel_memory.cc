#include "media/pixel_memory.h"

#include <new>

#include "base/spare_memory.h"

namespace vlm {

void* allocate_pixels(size_t bytes) {
  return bytes < kLargeArray_bytes ? ::operator new(bytes) : take_block(bytes);
}

void free_pixels(void* memory, size_t bytes) noexcept {
  if (bytes < kLargeArray_bytes)
    ::operator delete(memory);
  else
    give_block_back(memory, bytes);
}

}  // namespace vlm
