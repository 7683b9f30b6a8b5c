// Threads of a training run.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "train/objective.h"

namespace vlm {

// Each runs whole passes of the model on one core: where other programs use the processor as well this is far
// faster than splitting every product among threads that then wait for each other.
class Workers {
 public:
  explicit Workers(int64_t count);
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Calls task(0), task(1), ... task(tasks - 1), several at a time; returns when all are done. The exception
  // of any is rethrown.
  void run(int64_t tasks, const std::function<void(int64_t)>& task);

 private:
  void work();

  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void(int64_t)>* task_ = nullptr;
  int64_t next_ = 0, tasks_ = 0, running_ = 0;
  bool stopping_ = false;
  std::exception_ptr problem_;
};

// Makes batches ahead on a thread of its own, in order.
class BatchQueue {
 public:
  BatchQueue(const Objective& objective, int64_t first, size_t ahead);
  ~BatchQueue();
  BatchQueue(const BatchQueue&) = delete;
  BatchQueue& operator=(const BatchQueue&) = delete;
  TrainingBatch next();  // rethrows what making it threw

 private:
  void run();

  const Objective& objective_;
  int64_t next_;
  size_t ahead_;
  bool stopping_ = false;
  std::exception_ptr problem_;
  std::deque<TrainingBatch> ready_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace vlm
