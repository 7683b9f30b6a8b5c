#include "media/pixel_memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace vlm {
namespace {

constexpr size_t large_page = size_t{2} << 20;

bool is_large(size_t bytes) {
  return bytes >= 2 * large_page;
}

}  // namespace

void* allocate_pixels(size_t bytes) {
  if (!is_large(bytes)) return ::operator new(bytes);
  if (bytes > SIZE_MAX - large_page) throw std::bad_alloc();
  const size_t rounded = (bytes + large_page - 1) / large_page * large_page;
  void* memory = std::aligned_alloc(large_page, rounded);
  if (!memory) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  madvise(memory, rounded, MADV_HUGEPAGE);  // a wish: small pages do as well
#endif
  return memory;
}

void free_pixels(void* memory, size_t bytes) {
  if (is_large(bytes))
    std::free(memory);
  else
    ::operator delete(memory);
}

}  // namespace vlm
