#include "base/spare_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace vlm {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kMostKept_bytes = 0;  // so that they see who uses memory after its end
#else
constexpr size_t kMostKept_bytes = size_t{256} << 20;
#endif

// Eight sizes from one power of two to the next: a block serves arrays that are up to an eighth smaller.
size_t block_size(size_t bytes) {
  if (bytes > SIZE_MAX / 2) throw std::bad_alloc();
  const size_t step = std::max(std::bit_floor(bytes) / 8, size_t{4096});
  return (bytes + step - 1) / step * step;
}

struct Block {
  void* memory;
  size_t size;
};

class Spares {
 public:
  void* take(size_t size) {
    std::lock_guard lock(mutex_);
    auto found = std::find_if(blocks_.rbegin(), blocks_.rend(),
                              [size](const Block& block) { return block.size == size; });
    if (found == blocks_.rend()) return nullptr;
    void* memory = found->memory;
    bytes_ -= size;
    blocks_.erase(std::next(found).base());
    return memory;
  }

  // Those that waited longest make room.
  void keep(Block block) {
    std::vector<Block> old;
    {
      std::lock_guard lock(mutex_);
      blocks_.push_back(block);
      bytes_ += block.size;
      auto end = blocks_.begin();
      for (; bytes_ > kMostKept_bytes; ++end) bytes_ -= end->size;
      old.assign(blocks_.begin(), end);
      blocks_.erase(blocks_.begin(), end);
    }
    for (const Block& each : old) std::free(each.memory);
  }

 private:
  std::mutex mutex_;
  std::vector<Block> blocks_;  // in the order in which they came back
  size_t bytes_ = 0;
};

// Never destroyed: arrays may outlive any static object.
Spares& spares() {
  static Spares* all = new Spares;
  return *all;
}

}  // namespace

void* take_block(size_t bytes) {
  const size_t size = block_size(bytes);
  if (void* memory = spares().take(size)) return memory;
  const size_t alignment = size < kHugePage ? size_t{4096} : kHugePage;
  void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (!memory) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  ::madvise(memory, size, MADV_HUGEPAGE);  // a wish
#endif
  return memory;
}

void give_block_back(void* block, size_t bytes) noexcept {
  try {
    spares().keep({block, block_size(bytes)});
  } catch (const std::bad_alloc&) {
    std::free(block);  // no memory for the list of blocks
  }
}

}  // namespace vlm
