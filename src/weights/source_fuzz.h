// What the fuzz targets of the weight formats share.
#pragma once

#include "weights/source.h"
#include "weights/source_bytes.h"

namespace vlm {

// Loads every tensor and reads its outermost bytes, so that a sanitizer sees a view that leaves the file.
// Errors are the expected outcome, except internal ones, which nothing in a file may cause.
template <typename File>
int fuzz_source(const uint8_t* data, size_t size) {
  try {
    File file(FileBytes::borrow(std::as_bytes(std::span(data, size)), "input"));
    for (const std::string& name : file.names()) {
      Tensor tensor = file.load(name);
      if (tensor.sizes().vec() != file.info(name).shape) __builtin_trap();
      if (tensor.numel() == 0) continue;
      int64_t last = 0;
      for (int64_t axis = 0; axis < tensor.dim(); ++axis)
        last += (tensor.size(axis) - 1) * tensor.stride(axis);
      const auto* bytes = static_cast<const volatile uint8_t*>(tensor.data_ptr());
      (void)bytes[0];
      (void)bytes[(last + 1) * static_cast<int64_t>(tensor.element_size()) - 1];
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) __builtin_trap();
  }
  return 0;
}

}  // namespace vlm
