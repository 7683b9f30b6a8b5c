#include "app/cli/commands/progress.h"

#include <algorithm>

namespace vlm::cli {

namespace {

constexpr std::chrono::milliseconds kBetweenBars(100);
constexpr std::chrono::seconds kBetweenLines(10);

std::string amount_text(double amount, const std::string& unit) {
  return unit == "bytes" ? bytes_text(amount) : count_text(amount) + " " + unit;
}

}  // namespace

std::string progress_line(const Progress& progress, double rate, int width) {
  std::string tail;
  bool has_total = progress.total > 0;
  if (has_total && progress.unit == "bytes")
    tail = fmt::format("{} of {}", bytes_text(progress.done), bytes_text(progress.total));
  else if (has_total)
    tail = fmt::format("{:.0f} of {:.0f} {}", progress.done, progress.total, progress.unit);
  else
    tail = amount_text(progress.done, progress.unit);
  if (rate > 0) {
    tail += ", " +
            (progress.unit == "bytes" ? bytes_text(rate) : fmt::format("{:.3g} {}", rate, progress.unit)) +
            "/s";
    if (has_total && progress.done < progress.total)
      tail += ", " + seconds_text((progress.total - progress.done) / rate) + " left";
  }
  if (!progress.detail.empty()) tail += ", " + progress.detail;
  std::string line = progress.what + "  ";
  if (has_total) {
    double part = std::clamp(progress.done / progress.total, 0.0, 1.0);
    int room = width - static_cast<int>(line.size() + tail.size()) - 12;
    if (room >= 10) {
      int cells = std::min(room, 30), full = static_cast<int>(part * cells);
      line += "[" + std::string(static_cast<size_t>(full), '=') + (full < cells ? ">" : "") +
              std::string(static_cast<size_t>(std::max(0, cells - full - 1)), ' ') + "] ";
    }
    line += fmt::format("{:3.0f} %  ", part * 100);
  }
  line += tail;
  if (static_cast<int>(line.size()) >= width) line.resize(static_cast<size_t>(std::max(1, width - 1)));
  return line;
}

ProgressDisplay::ProgressDisplay(const Terminal& terminal) : terminal_(terminal) {
  set_log_sink([this](LogLevel level, const std::string& message) { on_log(level, message); });
  if (!terminal.quiet) set_progress_sink([this](const Progress& progress) { on_progress(progress); });
}

ProgressDisplay::~ProgressDisplay() {
  set_progress_sink({});
  set_log_sink({});
  clear_bar();
}

void ProgressDisplay::clear_bar() {
  if (!has_bar_) return;
  write_all(terminal_.err.descriptor, "\r\033[K");
  has_bar_ = false;
}

void ProgressDisplay::on_log(LogLevel level, const std::string& message) {
  if (level == LogLevel::debug && !terminal_.verbose) return;
  if (level == LogLevel::info && terminal_.quiet) return;
  clear_bar();
  std::string line = message + "\n";
  if (level == LogLevel::warn) line = terminal_.err.paint(Ink::yellow, "vlm: warning: ") + line;
  if (level == LogLevel::error) line = terminal_.err.paint(Ink::red, "vlm: error: ") + line;
  write_all(terminal_.err.descriptor, line);
}

void ProgressDisplay::on_progress(const Progress& progress) {
  auto now = std::chrono::steady_clock::now();
  bool is_new = progress.what != what_;
  bool is_last = progress.total > 0 && progress.done >= progress.total;
  if (is_new) {
    what_ = progress.what;
    begin_ = now;
    done_at_begin_ = progress.done;
    shown_ = terminal_.err.is_terminal ? std::chrono::steady_clock::time_point{} : now;
  }
  double seconds = std::chrono::duration<double>(now - begin_).count();
  double rate = seconds > 0.2 ? (progress.done - done_at_begin_) / seconds : 0;
  if (terminal_.err.is_terminal) {
    if (is_last) {
      clear_bar();
      return;
    }
    if (now - shown_ < kBetweenBars) return;
    write_all(terminal_.err.descriptor, "\r\033[K" + progress_line(progress, rate, terminal_.err.width));
    has_bar_ = true;
  } else {
    // Work that is over within a moment leaves no line in a log.
    if (now - shown_ < kBetweenLines && !(is_last && seconds > 1)) return;
    write_all(terminal_.err.descriptor, progress_line(progress, rate, 200) + "\n");
  }
  shown_ = now;
}

}  // namespace vlm::cli
