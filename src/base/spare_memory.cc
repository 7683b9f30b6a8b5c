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
    used_ += size;
    most_used_ = std::max(most_used_, used_);
    auto found = std::find_if(blocks_.rbegin(), blocks_.rend(),
                              [size](const Block& block) { return block.size == size; });
    if (found == blocks_.rend()) return nullptr;
    void* memory = found->memory;
    bytes_ -= size;
    blocks_.erase(std::next(found).base());
    return memory;
  }

  void keep(Block block) {
    std::unique_lock lock(mutex_);
    used_ -= block.size;
    blocks_.push_back(block);
    bytes_ += block.size;
    shrink(lock);
  }
  void forget(size_t size) {
    std::lock_guard lock(mutex_);
    used_ -= size;
  }
  void keep_all(bool begins) {
    std::unique_lock lock(mutex_);
    keepers_ += begins ? 1 : -1;
    most_used_ = used_;
    shrink(lock);
  }

 private:
  // Those that waited longest make room.
  void shrink(std::unique_lock<std::mutex>& lock) {
    const size_t of_keepers = keepers_ > 0 && kMostKept_bytes > 0 ? most_used_ - used_ : 0;
    auto end = blocks_.begin();
    for (; bytes_ > std::max(kMostKept_bytes, of_keepers); ++end) bytes_ -= end->size;
    const std::vector<Block> old(blocks_.begin(), end);
    blocks_.erase(blocks_.begin(), end);
    lock.unlock();
    for (const Block& each : old) std::free(each.memory);
  }

  std::mutex mutex_;
  std::vector<Block> blocks_;  // in the order in which they came back
  size_t bytes_ = 0, used_ = 0, most_used_ = 0;
  int keepers_ = 0;
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
  if (!memory) {
    spares().forget(size);
    throw std::bad_alloc();
  }
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

KeepSpareMemory::KeepSpareMemory() {
  spares().keep_all(true);
}
KeepSpareMemory::~KeepSpareMemory() {
  spares().keep_all(false);
}

}  // namespace vlm
