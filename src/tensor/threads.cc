#include "tensor/threads.h"

#include <ATen/Parallel.h>

#include "base/parallel.h"
#include "tensor/blas_core.h"

namespace vlm {

namespace {

// When the library is loaded, mostly before main: later there may be threads that multiply.
[[gnu::constructor]] void mend_choice_of_kernels() {
  use_better_blas_core();
}

}  // namespace

void share_threads() {
  at::set_num_threads(num_threads());
}

void use_one_thread() {
  at::get_num_threads();  // takes the count now
  set_num_threads(1);
}

}  // namespace vlm
