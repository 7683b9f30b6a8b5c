// Threads that each run whole passes of the model on one core: on processors that do other work as well this
// is far faster than splitting every product among threads that then wait for each other.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace vlm {

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

}  // namespace vlm
