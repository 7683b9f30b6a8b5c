// What an answer's notation stands for, in the structs of the C API.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>

#include "app/capi/handles.h"
#include "vlm/capi.h"

namespace vlm::v0 {

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};
// As vlm_free() takes it.
template <typename Type>
using Memory = std::unique_ptr<Type, FreeMemory>;

void* allocate(size_t bytes);  // throws bad_alloc

// All of it in one piece of memory.
Memory<vlm_findings> copy_findings(const Answer& answer);

}  // namespace vlm::v0
