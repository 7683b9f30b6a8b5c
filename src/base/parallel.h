// Threads for loops. They spin briefly when a loop ends, since the next one mostly follows at once, and then
// sleep: a thread that spins for long takes the processor from whatever else the machine runs, which in turn
// takes it from this program.
//
// LibTorch's operations and OpenBLAS run on OpenMP's threads: LibTorch's loops are compiled against it and
// cannot be sent here. Loops of this pool are not OpenMP's because its threads all meet at the end of a loop,
// so one that the machine holds up holds up the rest, and because how long they spin is read from the
// environment once, when libgomp is loaded (GOMP_SPINCOUNT; the program `vlm` sets it, see
// app/cli/front/library.cc).
#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>

namespace vlm {

// Of the calling thread, as OpenMP counts them: also how many LibTorch and OpenBLAS use when it calls them.
int num_threads();
void set_num_threads(int count);  // at least 1

// A function of a range, called where it lies: std::function would copy it to the heap.
class RangeBody {
 public:
  template <typename Body, typename = std::enable_if_t<!std::is_same_v<Body, RangeBody>>>
  RangeBody(const Body& body)
      : body_(&body), call_([](const void* of, int64_t first, int64_t last) {
          (*static_cast<const Body*>(of))(first, last);
        }) {}
  void operator()(int64_t first, int64_t last) const { call_(body_, first, last); }

 private:
  const void* body_;
  void (*call_)(const void*, int64_t, int64_t);
};

// Calls body(first, last) on disjoint ranges that cover [begin, end), each at least `grain` long except the
// last. Threads take the next range when they are done with one, the caller as well, and a thread that has
// taken none is not waited for. Nested calls run inline, and so do those that come while another caller's
// loop runs. An exception of any range is rethrown in the caller, after all ranges.
void parallel_for(int64_t begin, int64_t end, int64_t grain, RangeBody body);

// Calls body once in each of num_threads() threads, the caller among them, and in each of OpenMP's: for what
// is kept for each thread, such as how the processor rounds.
void on_every_thread(const std::function<void()>& body);

}  // namespace vlm
