#include "app/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <new>

namespace vlm::cli {

namespace {

const char* code_of(Ink ink) {
  switch (ink) {
    case Ink::plain:
      return "";
    case Ink::bold:
      return "\033[1m";
    case Ink::dim:
      return "\033[2m";
    case Ink::red:
      return "\033[31m";
    case Ink::green:
      return "\033[32m";
    case Ink::yellow:
      return "\033[33m";
    case Ink::cyan:
      return "\033[36m";
  }
  return "";
}

Stream open_stream(int descriptor, const std::string& colour) {
  Stream stream;
  stream.descriptor = descriptor;
  stream.is_terminal = ::isatty(descriptor) == 1;
  const char* kind = std::getenv("TERM");
  bool is_dumb = kind && std::strcmp(kind, "dumb") == 0;
  const char* refused = std::getenv("NO_COLOR");
  stream.colour = colour == "always" ||
                  (colour == "auto" && stream.is_terminal && !is_dumb && !(refused && *refused != '\0'));
  winsize size{};
  if (stream.is_terminal && ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    stream.width = size.ws_col;
  return stream;
}

// Names in messages come from strangers' files: a message must not move the cursor.
std::string harmless(const std::string& text) {
  std::string result;
  for (char letter : text) {
    auto byte = static_cast<unsigned char>(letter);
    if ((byte < 0x20 && letter != '\n' && letter != '\t') || byte == 0x7f)
      result += fmt::format("\\x{:02x}", byte);
    else
      result += letter;
  }
  return result;
}

}  // namespace

std::string Stream::paint(Ink ink, std::string_view text) const {
  if (!colour || ink == Ink::plain) return std::string(text);
  return std::string(code_of(ink)) + std::string(text) + "\033[0m";
}

Terminal Terminal::open(const Options& options) {
  Terminal terminal;
  terminal.out = open_stream(STDOUT_FILENO, options.colour);
  terminal.err = open_stream(STDERR_FILENO, options.colour);
  terminal.quiet = options.quiet;
  terminal.verbose = options.verbose;
  return terminal;
}

bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    ssize_t count = ::write(descriptor, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    text.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

void print(std::string_view text) {
  if (write_all(STDOUT_FILENO, text)) return;
  if (errno == EPIPE) {  // `vlm ... | head`: the reader has what it wanted
    std::signal(SIGPIPE, SIG_DFL);
    std::raise(SIGPIPE);
  }
  fail(ErrorKind::out_of_resources, "free some space or write elsewhere",
       "standard output cannot be written ({})", std::strerror(errno));
}

void print_error(const Stream& err, const std::string& message, const std::string& hint) {
  std::string text = err.paint(Ink::red, "vlm: error: ") + harmless(message) + "\n";
  if (!hint.empty()) text += err.paint(Ink::dim, "  hint: ") + harmless(hint) + "\n";
  write_all(err.descriptor, text);
}

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::bad_request:
    case ErrorKind::not_found:
    case ErrorKind::unsupported:
      return kExitUser;
    case ErrorKind::bad_checkpoint:
      return kExitCheckpoint;
    case ErrorKind::out_of_resources:
      return kExitResources;
    case ErrorKind::internal:
      return kExitBug;
  }
  return kExitBug;
}

int guarded(const Terminal& terminal, const std::function<int()>& body) {
  try {
    return body();
  } catch (const Error& error) {
    print_error(terminal.err, error.message(), error.hint());
    return exit_code(error.kind());
  } catch (const std::bad_alloc&) {
    print_error(terminal.err, "out of memory",
                "choose a lower --precision, a smaller model, or give the process more memory");
    return kExitResources;
  } catch (const std::exception& error) {
    // The tensor library's message goes on with a backtrace; its first line says what happened.
    std::string message = error.what();
    print_error(terminal.err, "internal error: " + message.substr(0, message.find('\n')),
                "this is a bug of vlm; please report it with the command and the output of `vlm doctor`");
    return kExitBug;
  }
}

std::string bytes_text(double bytes) {
  const char* const units[] = {"B", "KB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < std::size(units)) bytes /= 1000, ++unit;
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.3g} {}", bytes, units[unit]);
}

std::string seconds_text(double seconds) {
  if (seconds < 60) return seconds < 10 ? fmt::format("{:.2f} s", seconds) : fmt::format("{:.1f} s", seconds);
  auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

std::string count_text(double count) {
  const char* const units[] = {"", " K", " M", " B"};
  size_t unit = 0;
  while (count >= 1000 && unit + 1 < std::size(units)) count /= 1000, ++unit;
  return unit == 0 ? fmt::format("{:.0f}", count) : fmt::format("{:.3g}{}", count, units[unit]);
}

}  // namespace vlm::cli
