// Memory of tensors while training lasts.
#pragma once

#include <c10/core/Allocator.h>

#include "base/spare_memory.h"

namespace vlm {

// While it lives, every tensor of 64 KB or more that any thread makes lies in spare memory
// (base/spare_memory.h), also what LibTorch's own operations and autograd make: each step of training takes
// the same tensors anew, and the system would clear their pages each time. One at a time.
class SpareTensors {
 public:
  SpareTensors();
  ~SpareTensors();
  SpareTensors(const SpareTensors&) = delete;
  SpareTensors& operator=(const SpareTensors&) = delete;

 private:
  KeepSpareMemory keep_;
  c10::Allocator* before_;
};

}  // namespace vlm
