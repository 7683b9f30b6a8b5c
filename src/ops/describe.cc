#include "ops/describe.h"

#include "kernels/cpu.h"
#include "ops/linear.h"

namespace vlm::ops {

std::string kernels_text() {
  return kernels_enabled() ? kernels::kernels_description() : "off (VLM_KERNELS): plain tensor expressions";
}

}  // namespace vlm::ops
