// Words of the command line to Options.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/cli/options.h"

namespace CLI {
class App;
}

namespace vlm::cli {

// Answered by the front itself.
enum class FrontAnswer { none, help, version, list, show, completions, manual };

struct Parsed {
  Options options;
  FrontAnswer answer = FrontAnswer::none;
  std::string text;  // of --help and --version; the shell of completions
};

// Throws bad_request with the nearest word for what is mistyped.
Parsed parse_command_line(const std::vector<std::string>& words);

// For completions and the manual page: the commands with their options, one CLI::App each.
class Grammar {
 public:
  Grammar();
  ~Grammar();
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;
  CLI::App& app() { return *app_; }

 private:
  friend Parsed parse_command_line(const std::vector<std::string>& words);
  std::unique_ptr<CLI::App> app_;
  std::unique_ptr<Parsed> parsed_;
};

}  // namespace vlm::cli
