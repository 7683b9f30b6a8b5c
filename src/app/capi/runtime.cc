#include <atomic>

#include "app/capi/handles.h"
#include "base/log.h"
#include "base/parallel.h"

namespace vlm::v0 {

namespace {

std::atomic<int> chosen_threads{0};

}  // namespace

const char* version() {
  return VLM_VERSION;
}

void set_threads(int count) {
  if (count < 0)
    fail(ErrorKind::bad_request, "give a number of at least 1, or 0 for one a core", "{} threads", count);
  static const int at_start = num_threads();  // before any change
  chosen_threads = count == 0 ? at_start : count;
}

void use_chosen_threads() {
  if (int count = chosen_threads; count > 0) set_num_threads(count);
}

void set_log(std::function<void(LogLevel level, const std::string& message)> sink) {
  if (!sink) return set_log_sink({});
  set_log_sink([sink = std::move(sink)](vlm::LogLevel level, const std::string& message) {
    sink(static_cast<LogLevel>(level), message);
  });
}

}  // namespace vlm::v0
