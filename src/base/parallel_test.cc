#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace vlm {
namespace {

class Parallel : public ::testing::TestWithParam<int> {
 protected:
  Parallel() { set_num_threads(GetParam()); }
  ~Parallel() override { set_num_threads(before_); }

 private:
  int before_ = num_threads();
};

TEST_P(Parallel, RangesCoverEveryIndexOnce) {
  for (int64_t total : {0, 1, 2, 3, 7, 8, 100, 1001})
    for (int64_t grain : {0, 1, 3, 64, 5000}) {
      std::vector<std::atomic<int>> times(static_cast<size_t>(total));
      parallel_for(5, 5 + total, grain, [&](int64_t first, int64_t last) {
        ASSERT_LT(first, last);
        for (int64_t idx = first; idx < last; ++idx) ++times[static_cast<size_t>(idx - 5)];
      });
      for (const std::atomic<int>& count : times) ASSERT_EQ(count, 1) << total << " by " << grain;
    }
}

TEST_P(Parallel, NestedLoopsRunInline) {
  std::atomic<int64_t> sum{0};
  parallel_for(0, 20, 1, [&](int64_t first, int64_t last) {
    const std::thread::id here = std::this_thread::get_id();
    for (int64_t idx = first; idx < last; ++idx)
      parallel_for(0, 10, 1, [&](int64_t from, int64_t to) {
        EXPECT_EQ(std::this_thread::get_id(), here);
        sum += to - from;
      });
  });
  EXPECT_EQ(sum, 200);
}

TEST_P(Parallel, AnExceptionReachesTheCaller) {
  std::atomic<int64_t> done{0};
  for (int64_t bad : {0, 50, 99}) try {
      done = 0;
      parallel_for(0, 100, 1, [&](int64_t first, int64_t last) {
        done += last - first;
        if (first <= bad && bad < last) throw std::runtime_error(std::to_string(bad));
      });
      FAIL() << bad;
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(error.what(), std::to_string(bad));
      EXPECT_EQ(done, 100);
    }
}

TEST_P(Parallel, CallersOfSeveralThreadsDoNotWaitForEachOther) {
  std::vector<std::thread> callers;
  std::atomic<int64_t> sum{0};
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      set_num_threads(GetParam());
      for (int round = 0; round < 500; ++round)
        parallel_for(0, 64, 1, [&](int64_t first, int64_t last) { sum += last - first; });
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 4 * 500 * 64);
}

// Threads that have fallen asleep between two loops come back.
TEST_P(Parallel, ThreadsSleepAndComeBack) {
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(round % 2));
    std::atomic<int64_t> sum{0};
    parallel_for(0, 1000, 1, [&](int64_t first, int64_t last) { sum += last - first; });
    ASSERT_EQ(sum, 1000);
  }
}

TEST_P(Parallel, EveryThreadIsReachedOnce) {
  std::mutex mutex;
  std::multiset<std::thread::id> ids;
  on_every_thread([&] {
    std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  });
  // The caller belongs to this pool and to OpenMP's.
  EXPECT_EQ(ids.size(), 2 * static_cast<size_t>(GetParam()));
  EXPECT_EQ(ids.count(std::this_thread::get_id()), 2u);
  EXPECT_EQ(std::set(ids.begin(), ids.end()).size(), 2 * static_cast<size_t>(GetParam()) - 1);
}

INSTANTIATE_TEST_SUITE_P(Threads, Parallel, ::testing::Values(1, 2, 3, 8));

TEST(NumThreads, BelongsToTheCallingThread) {
  const int before = num_threads();
  set_num_threads(3);
  std::thread([before] { EXPECT_EQ(num_threads(), before); }).join();
  EXPECT_EQ(num_threads(), 3);
  set_num_threads(before);
}

}  // namespace
}  // namespace vlm
