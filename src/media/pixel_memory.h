// Memory for pixels. Pictures are large and short-lived, and fresh memory is cleared by the system when it is
// first touched: of a photograph's 36 MB that takes half as long as decoding it. So large ones lie in memory
// that earlier ones left (base/spare_memory.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace vlm {

void* allocate_pixels(size_t bytes);  // throws std::bad_alloc
void free_pixels(void* memory, size_t bytes) noexcept;

// Leaves elements that are not given a value as they are.
template <typename T>
struct PixelAllocator {
  using value_type = T;
  PixelAllocator() = default;
  template <typename U>
  PixelAllocator(const PixelAllocator<U>&) {}

  T* allocate(size_t count) { return static_cast<T*>(allocate_pixels(count * sizeof(T))); }
  void deallocate(T* memory, size_t count) noexcept { free_pixels(memory, count * sizeof(T)); }
  template <typename U, typename... Args>
  void construct(U* at, Args&&... args) {
    if constexpr (sizeof...(Args) == 0)
      ::new (static_cast<void*>(at)) U;
    else
      std::construct_at(at, std::forward<Args>(args)...);
  }
  bool operator==(const PixelAllocator&) const { return true; }
};

using Pixels = std::vector<uint8_t, PixelAllocator<uint8_t>>;

}  // namespace vlm
