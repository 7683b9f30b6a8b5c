#include "train/workers.h"

#include <ATen/Context.h>

#include "base/parallel.h"

namespace vlm {

Workers::Workers(int64_t count) {
  for (int64_t idx = 0; idx < count; ++idx) threads_.emplace_back([this] { work(); });
}

Workers::~Workers() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::work() {
  set_num_threads(1);  // of this thread alone
  at::globalContext().setFlushDenormal(true);
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || next_ < tasks_; });
    if (stopping_) return;
    int64_t mine = next_++;
    ++running_;
    lock.unlock();
    std::exception_ptr problem;
    try {
      (*task_)(mine);
    } catch (...) {
      problem = std::current_exception();
    }
    lock.lock();
    --running_;
    if (problem && !problem_) problem_ = problem;
    if (running_ == 0 && next_ >= tasks_) changed_.notify_all();
  }
}

void Workers::run(int64_t tasks, const std::function<void(int64_t)>& task) {
  std::unique_lock lock(mutex_);
  task_ = &task, next_ = 0, tasks_ = tasks, problem_ = nullptr;
  changed_.notify_all();
  changed_.wait(lock, [&] { return running_ == 0 && next_ >= tasks_; });
  tasks_ = next_ = 0;
  if (problem_) std::rethrow_exception(problem_);
}

}  // namespace vlm
