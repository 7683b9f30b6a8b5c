#include "media/pixel_memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

namespace vlm {
namespace {

constexpr size_t page = size_t{1} << 12;
constexpr size_t large = size_t{4} << 20;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t most_kept = 0;  // so that they see who uses memory after its end
#else
constexpr size_t most_kept = size_t{64} << 20;
#endif

size_t rounded(size_t bytes) {
  if (bytes > SIZE_MAX - large) throw std::bad_alloc();
  return (bytes + large - 1) / large * large;
}

// The block that waits for the next picture. Never destroyed: pictures may outlive any static object.
struct Spare {
  std::mutex mutex;
  void* memory = nullptr;
  size_t size = 0;
};
Spare& spare() {
  static Spare* one = new Spare;
  return *one;
}

}  // namespace

void* allocate_pixels(size_t bytes) {
  if (bytes < large) return ::operator new(bytes);
  const size_t size = rounded(bytes);
  {
    std::lock_guard lock(spare().mutex);
    if (spare().memory && spare().size == size) return std::exchange(spare().memory, nullptr);
  }
  void* memory = std::aligned_alloc(page, size);
  if (!memory) throw std::bad_alloc();
#ifdef MADV_POPULATE_WRITE
  madvise(memory, size, MADV_POPULATE_WRITE);  // one call instead of a fault for each page; a wish
#endif
  return memory;
}

void free_pixels(void* memory, size_t bytes) noexcept {
  if (bytes < large) return ::operator delete(memory);
  const size_t size = rounded(bytes);
  if (size <= most_kept) {
    std::lock_guard lock(spare().mutex);
    spare().size = size;
    memory = std::exchange(spare().memory, memory);
  }
  std::free(memory);
}

}  // namespace vlm
