#include "base/pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace vlm {

std::shared_ptr<std::byte> allocate_pages(size_t size_bytes) {
  size_t size = std::max<size_t>(size_bytes, 1);
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED)
    fail(ErrorKind::out_of_resources, "close other programs, or use a smaller precision",
         "no memory for {} bytes ({})", size, std::strerror(errno));
#ifdef MADV_HUGEPAGE
  ::madvise(address, size, MADV_HUGEPAGE);
#endif
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(address),
                                    [size](std::byte* data) { ::munmap(data, size); });
}

}  // namespace vlm
