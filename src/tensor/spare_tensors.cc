#include "tensor/spare_tensors.h"

#include <c10/core/CPUAllocator.h>

namespace vlm {

namespace {

constexpr size_t kLeast_bytes = 64 << 10;

struct Block {
  void* memory;
  size_t bytes;
};

void give_back(void* context) {
  auto* block = static_cast<Block*>(context);
  give_block_back(block->memory, block->bytes);
  delete block;
}

class SpareAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) const override {
    if (bytes < kLeast_bytes) return c10::GetDefaultCPUAllocator()->allocate(bytes);
    auto block = std::make_unique<Block>(Block{nullptr, bytes});
    block->memory = take_block(bytes);
    void* memory = block->memory;
    return {memory, block.release(), give_back, c10::Device(c10::DeviceType::CPU)};
  }
};

// Never destroyed: tensors may outlive any static object.
SpareAllocator& spare_allocator() {
  static auto* allocator = new SpareAllocator;
  return *allocator;
}

}  // namespace

SpareTensors::SpareTensors() : before_(c10::GetCPUAllocator()) {
  c10::SetCPUAllocator(&spare_allocator());
}
SpareTensors::~SpareTensors() {
  c10::SetCPUAllocator(before_);
}

}  // namespace vlm
