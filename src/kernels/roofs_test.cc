#include "kernels/roofs.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/cpu.h"

namespace vlm::kernels {
namespace {

TEST(Roofs, EveryInstructionSetCountsWhatItDoes) {
  for (int64_t target : usable_targets()) {
    use_only_target(target);
    for (auto* multiply : {multiply_floats, multiply_bytes, multiply_nibbles}) {
      EXPECT_GT(multiply(1), 0) << target_name(target);
      EXPECT_EQ(multiply(10), 10 * multiply(1)) << target_name(target);
    }
    EXPECT_EQ(multiply_halves(10), 10 * multiply_halves(1)) << target_name(target);
  }
  use_only_target(0);
}

TEST(Roofs, ReadsEverything) {
  alignas(64) static uint64_t words[3 * 64];
  uint64_t sum = 0, next = 1;
  for (uint64_t& word : words) sum += word = next++;
  for (int64_t target : usable_targets()) {
    use_only_target(target);
    EXPECT_EQ(read_memory(words, sizeof words), sum) << target_name(target);
  }
  use_only_target(0);
}

}  // namespace
}  // namespace vlm::kernels
