// What the library says while it works goes through one sink, silent by default; the command line and the
// server set it.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>

namespace vlm {

enum class LogLevel { debug, info, warn, error };
using LogSink = std::function<void(LogLevel, const std::string&)>;

void set_log_sink(LogSink sink);  // an empty function silences
void log_message(LogLevel level, const std::string& message);

template <typename... Args>
void log(LogLevel level, fmt::format_string<Args...> message, Args&&... args) {
  log_message(level, fmt::format(message, std::forward<Args>(args)...));
}

// Long work reports here; the command line draws bars of it.
struct Progress {
  std::string what;    // "loading weights"
  double done = 0;     // in `unit`
  double total = 0;    // 0: unknown
  std::string unit;    // "bytes", "steps"
  std::string detail;  // "loss 1.234", may be empty
};
using ProgressSink = std::function<void(const Progress&)>;
void set_progress_sink(ProgressSink sink);
void report_progress(const Progress& progress);

}  // namespace vlm
