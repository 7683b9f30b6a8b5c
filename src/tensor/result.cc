#include "tensor/result.h"

#include "base/spare_memory.h"

namespace vlm {

Tensor empty_result(at::IntArrayRef sizes) {
  const size_t bytes = static_cast<size_t>(c10::multiply_integers(sizes)) * sizeof(float);
  if (bytes < kLargeArray_bytes) return at::empty(sizes, at::kFloat);
  return at::from_blob(
      take_block(bytes), sizes, [bytes](void* block) { give_block_back(block, bytes); }, at::kFloat);
}

}  // namespace vlm
