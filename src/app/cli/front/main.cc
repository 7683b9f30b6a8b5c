// The program `vlm`: parses the command line, answers --help, list and show SYSTEM at once, and loads the
// engine for everything else.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "app/cli/front/help.h"
#include "app/cli/front/library.h"
#include "app/cli/front/parse.h"
#include "app/cli/sizes.h"
#include "app/cli/status.h"
#include "app/cli/terminal.h"

namespace vlm::cli {
namespace {

std::string program_folder() {
  std::error_code error;
  std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "." : program.parent_path().string();
}

void print_json(const nlohmann::ordered_json& json) {
  print(json.dump(2) + "\n");
}

int list(const Options& options, const Terminal& terminal) {
  const auto& words = std::get<ListOptions>(options.command).words;
  if (options.json)
    print_json(list_json(status_of, words));
  else
    print(list_text({terminal.out.colour, terminal.out.width}, status_of, words));
  return kExitOk;
}

// A system's card; a checkpoint is shown by the engine.
int show(const Options& options, const Terminal& terminal) {
  const std::string& name = std::get<ShowOptions>(options.command).model.model;
  bool looks_like_model = name == "default" || std::filesystem::exists(name);
  if (!looks_like_model) {
    bool is_system = false;
    for (const EmbeddedCard& card : embedded_cards()) is_system = is_system || card.slug == name;
    // A hub id may be both in the cache and on a card; the checkpoint says more.
    if (!is_system && name.find('/') != std::string::npos) looks_like_model = true;
  }
  if (looks_like_model) return run_in_library(options);
  Card card = find_card(name);
  if (options.json) {
    nlohmann::ordered_json json = card_json(card, status_of);
    json["sizes"] = sizes_json(card.slug);
    print_json(json);
  } else {
    print(card_text(card, {terminal.out.colour, terminal.out.width}, status_of) + sizes_text(card.slug));
  }
  return kExitOk;
}

int run(int argc, char** argv, Terminal& terminal) {
  Parsed parsed = parse_command_line({argv + 1, argv + argc});
  Options& options = parsed.options;
  options.program_folder = program_folder();
  terminal = Terminal::open(options);
  switch (parsed.answer) {
    case FrontAnswer::help:
    case FrontAnswer::version:
      print(parsed.text);
      return kExitOk;
    case FrontAnswer::completions: {
      Grammar grammar;
      print(completions_text(grammar.app(), parsed.text));
      return kExitOk;
    }
    case FrontAnswer::manual: {
      Grammar grammar;
      print(manual_text(grammar.app()));
      return kExitOk;
    }
    case FrontAnswer::list:
      return list(options, terminal);
    case FrontAnswer::show:
      return show(options, terminal);
    case FrontAnswer::none:
      break;
  }
  return run_in_library(options);
}

}  // namespace
}  // namespace vlm::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of write(), which says where
  vlm::cli::Terminal terminal = vlm::cli::Terminal::open({});
  int code = vlm::cli::guarded(terminal, [&] { return vlm::cli::run(argc, argv, terminal); });
  // Without the destructors of the tensor library's globals, which take a tenth of a second and have nothing
  // to save.
  std::_Exit(code);
}
