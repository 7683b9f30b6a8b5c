#include "base/log.h"

#include <mutex>

namespace vlm {

namespace {
std::mutex sink_mutex;
LogSink& log_sink() {
  static LogSink sink;
  return sink;
}
ProgressSink& progress_sink() {
  static ProgressSink sink;
  return sink;
}
}  // namespace

void set_log_sink(LogSink sink) {
  std::lock_guard lock(sink_mutex);
  log_sink() = std::move(sink);
}

void log_message(LogLevel level, const std::string& message) {
  std::lock_guard lock(sink_mutex);
  if (log_sink()) log_sink()(level, message);
}

void set_progress_sink(ProgressSink sink) {
  std::lock_guard lock(sink_mutex);
  progress_sink() = std::move(sink);
}

void report_progress(const Progress& progress) {
  std::lock_guard lock(sink_mutex);
  if (progress_sink()) progress_sink()(progress);
}

}  // namespace vlm
