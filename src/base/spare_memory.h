// Memory for large arrays that do not live long: pictures, what a layer passes on. Fresh memory comes in
// pages that the system clears when they are first touched, which takes as long as several passes over them;
// so blocks that were given back are kept for the next array of their size, and fresh ones are asked for in
// huge pages.
#pragma once

#include <cstddef>

namespace vlm {

// Smaller arrays are better off with operator new, which keeps memory itself.
constexpr size_t kLargeArray_bytes = size_t{1} << 20;

// Aligned for any vector; what is in it is unspecified. Throws std::bad_alloc.
void* take_block(size_t bytes);
// `bytes` as they were asked for.
void give_block_back(void* block, size_t bytes) noexcept;

// While one lives, as many blocks are kept as were in use at once: for what takes the same memory over and
// over, as training does. Else 256 MB.
class KeepSpareMemory {
 public:
  KeepSpareMemory();
  ~KeepSpareMemory();
  KeepSpareMemory(const KeepSpareMemory&) = delete;
  KeepSpareMemory& operator=(const KeepSpareMemory&) = delete;
};

}  // namespace vlm
