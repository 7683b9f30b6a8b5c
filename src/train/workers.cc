#include "train/workers.h"

#include <ATen/Context.h>

#include "tensor/threads.h"

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
  use_one_thread();
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

BatchQueue::BatchQueue(const Objective& objective, int64_t first, size_t ahead)
    : objective_(objective), next_(first), ahead_(ahead), thread_([this] { run(); }) {}

BatchQueue::~BatchQueue() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BatchQueue::run() {
  use_one_thread();  // pictures are small, and the other cores are busy
  try {
    while (true) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopping_ || ready_.size() < ahead_; });
        if (stopping_) return;
      }
      TrainingBatch batch = objective_.make_batch(next_++);
      std::lock_guard lock(mutex_);
      ready_.push_back(std::move(batch));
      changed_.notify_all();
    }
  } catch (...) {
    std::lock_guard lock(mutex_);
    problem_ = std::current_exception();
    changed_.notify_all();
  }
}

TrainingBatch BatchQueue::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty() || problem_; });
  if (ready_.empty()) std::rethrow_exception(problem_);
  TrainingBatch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return batch;
}

}  // namespace vlm
