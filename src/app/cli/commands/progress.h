// Notes and progress of the library on standard error: a bar on a terminal, plain lines elsewhere.
#pragma once

#include <chrono>
#include <string>

#include "app/cli/terminal.h"

namespace vlm::cli {

// Listens to base/log.h while it lives.
class ProgressDisplay {
 public:
  explicit ProgressDisplay(const Terminal& terminal);
  ~ProgressDisplay();
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

 private:
  void on_log(LogLevel level, const std::string& message);
  void on_progress(const Progress& progress);
  void clear_bar();

  Terminal terminal_;
  bool has_bar_ = false;
  std::string what_;
  std::chrono::steady_clock::time_point begin_, shown_;
  double done_at_begin_ = 0;
};

// "loading weights  [=====>    ]  52 %  1.2 of 2.3 GB, 410 MB/s, 3 s left", fitted to `width`.
std::string progress_line(const Progress& progress, double rate, int width);

}  // namespace vlm::cli
