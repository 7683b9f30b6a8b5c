// What the command line writes: answers on standard output, everything else on standard error.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "app/cli/catalogue.h"
#include "app/cli/options.h"
#include "base/error.h"
#include "base/log.h"

namespace vlm::cli {

enum class Ink { plain, bold, dim, red, green, yellow, cyan };

// One of the two streams.
struct Stream {
  int descriptor = 1;
  bool is_terminal = false;
  bool colour = false;
  int width = 80;

  std::string paint(Ink ink, std::string_view text) const;
};

struct Terminal {
  Stream out, err;
  bool quiet = false;
  bool verbose = false;

  // Colour as --color says; "auto": on a terminal, unless NO_COLOR is set or TERM is "dumb".
  static Terminal open(const Options& options);
};

// Whole writes that survive interrupts; false when the reader is gone or the disk is full.
bool write_all(int descriptor, std::string_view text);
// To standard output. Throws out_of_resources when it cannot be written; ends quietly when the reader closed
// the pipe.
void print(std::string_view text);

// "vlm: error: message" and its hint, control characters made visible.
void print_error(const Stream& err, const std::string& message, const std::string& hint);
int exit_code(ErrorKind kind);
// Runs `body`; every exception becomes a message and an exit code.
int guarded(const Terminal& terminal, const std::function<int()>& body);

// "1.5 GB", "312 KB"; "3.2 s", "4 min 5 s".
std::string bytes_text(double bytes);
std::string seconds_text(double seconds);
std::string count_text(double count);  // "7.06 B", "412 K"

}  // namespace vlm::cli
