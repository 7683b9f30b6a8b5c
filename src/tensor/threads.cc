#include "tensor/threads.h"

#include <ATen/Parallel.h>

#include "base/parallel.h"

namespace vlm {

void share_threads() {
  at::set_num_threads(num_threads());
}

void use_one_thread() {
  at::get_num_threads();  // takes the count now
  set_num_threads(1);
}

}  // namespace vlm
