#include "tensor/spare_tensors.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <mutex>
#include <unordered_map>

namespace vlm {

namespace {

constexpr size_t kLeast_bytes = 64 << 10;

class SpareAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) const override {
    void* memory = bytes < kLeast_bytes ? c10::alloc_cpu(bytes) : take_block(bytes);
    if (bytes >= kLeast_bytes) {
      std::lock_guard lock(mutex_);
      sizes_[memory] = bytes;
    }
    return {memory, memory, give_back, c10::Device(c10::DeviceType::CPU)};
  }
  // oneDNN keeps pointers alone.
  c10::DeleterFnPtr raw_deleter() const override { return give_back; }

 private:
  static void give_back(void* memory);

  mutable std::mutex mutex_;
  mutable std::unordered_map<void*, size_t> sizes_;  // of blocks
};

// Never destroyed: tensors may outlive any static object.
SpareAllocator& spare_allocator() {
  static auto* allocator = new SpareAllocator;
  return *allocator;
}

void SpareAllocator::give_back(void* memory) {
  SpareAllocator& own = spare_allocator();
  std::unique_lock lock(own.mutex_);
  auto found = own.sizes_.find(memory);
  if (found == own.sizes_.end()) {
    lock.unlock();
    c10::free_cpu(memory);
    return;
  }
  size_t bytes = found->second;
  own.sizes_.erase(found);
  lock.unlock();
  give_block_back(memory, bytes);
}

}  // namespace

SpareTensors::SpareTensors() : before_(c10::GetCPUAllocator()) {
  c10::SetCPUAllocator(&spare_allocator());
}
SpareTensors::~SpareTensors() {
  c10::SetCPUAllocator(before_);
}

}  // namespace vlm
