#include "base/spare_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

namespace vlm {
namespace {

TEST(SpareMemory, BlocksAreAsLargeAsAskedForAndAligned) {
  for (size_t bytes : {size_t{1} << 20, (size_t{1} << 20) + 1, size_t{3} << 20, (size_t{40} << 20) - 7}) {
    void* block = take_block(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % 64, 0u);
    std::memset(block, 1, bytes);
    give_block_back(block, bytes);
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(SpareMemory, WhatCameBackServesTheNext) {
  constexpr size_t kBytes = size_t{5} << 20;
  void* first = take_block(kBytes);
  void* second = take_block(kBytes);
  EXPECT_NE(first, second);
  give_block_back(first, kBytes);
  EXPECT_EQ(take_block(kBytes - 100), first);
  give_block_back(first, kBytes - 100);
  give_block_back(second, kBytes);
}

TEST(SpareMemory, KeepsNoMoreThanItsShare) {
  constexpr size_t kBytes = size_t{100} << 20;
  std::vector<void*> blocks;
  for (int idx = 0; idx < 4; ++idx) blocks.push_back(take_block(kBytes));
  for (void* block : blocks) give_block_back(block, kBytes);
  // The last two are kept, the latest first.
  EXPECT_EQ(take_block(kBytes), blocks[3]);
  EXPECT_EQ(take_block(kBytes), blocks[2]);
  give_block_back(blocks[3], kBytes);
  give_block_back(blocks[2], kBytes);
}

TEST(SpareMemory, KeepsAllThatWasInUseAtOnceWhenAsked) {
  constexpr size_t kBytes = size_t{100} << 20;
  std::vector<void*> blocks;
  KeepSpareMemory keep;
  for (int idx = 0; idx < 5; ++idx) blocks.push_back(take_block(kBytes));
  for (void* block : blocks) give_block_back(block, kBytes);
  for (int idx = 4; idx >= 0; --idx) EXPECT_EQ(take_block(kBytes), blocks[static_cast<size_t>(idx)]);
  for (void* block : blocks) give_block_back(block, kBytes);
}
#endif

TEST(SpareMemory, AbsurdSizesAreRefused) {
  EXPECT_THROW(take_block(SIZE_MAX - 5), std::bad_alloc);
  EXPECT_THROW(take_block(SIZE_MAX / 4), std::bad_alloc);
}

TEST(SpareMemory, ThreadsDoNotShareABlock) {
  std::vector<std::thread> threads;
  for (int number = 0; number < 4; ++number)
    threads.emplace_back([number] {
      constexpr size_t kBytes = size_t{2} << 20;
      for (int round = 0; round < 50; ++round) {
        auto* block = static_cast<unsigned char*>(take_block(kBytes));
        std::memset(block, number, kBytes);
        EXPECT_EQ(block[0], number);
        EXPECT_EQ(block[kBytes - 1], number);
        give_block_back(block, kBytes);
      }
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace vlm
