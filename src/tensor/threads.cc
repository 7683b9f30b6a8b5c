#include "tensor/threads.h"

#include <ATen/Parallel.h>

#include "base/parallel.h"

namespace vlm {

void share_threads() {
  at::set_num_threads(num_threads());
}

}  // namespace vlm
