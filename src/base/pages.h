// Memory for large arrays that are read from end to end, again and again.
#pragma once

#include <cstddef>
#include <memory>

namespace vlm {

// Zeroed, page aligned, in huge pages where the system has them: a stream through pages of 4 KB reaches two
// thirds of what memory can deliver. Throws out_of_resources.
std::shared_ptr<std::byte> allocate_pages(size_t size_bytes);

}  // namespace vlm
