#include <unistd.h>

#include <csignal>

#include "app/cli/commands/command.h"
#include "app/cli/commands/progress.h"
#include "base/parallel.h"
#include "engine/boundary.h"
#include "tensor/threads.h"

namespace vlm::cli {

std::atomic<bool> interrupted{false};

void catch_interrupts(Interrupts kind) {
  struct sigaction action {};
  if (kind == Interrupts::never_end)
    action.sa_handler = [](int) { interrupted = true; };
  else
    action.sa_handler = [](int) {
      if (interrupted.exchange(true)) ::_exit(kExitInterrupted);
    };
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  if (kind == Interrupts::also_on_term) ::sigaction(SIGTERM, &action, nullptr);
}

void print_json(const nlohmann::ordered_json& json) {
  print(json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

namespace {

int dispatch(const Options& options, const Context& context) {
  return std::visit(
      [&](const auto& command) -> int {
        using Command = std::decay_t<decltype(command)>;
        if constexpr (std::is_same_v<Command, std::monostate> || std::is_same_v<Command, ListOptions>)
          fail(ErrorKind::internal, "", "this command is answered without the engine");
        else
          return run_command(command, context);
      },
      options.command);
}

}  // namespace
}  // namespace vlm::cli

extern "C" __attribute__((visibility("default"))) int vlm_cli_run(const vlm::cli::Options* options) {
  using namespace vlm::cli;
  Context context{*options, Terminal::open(*options)};
  return guarded(context.terminal, [&] {
    if (options->threads > 0) vlm::set_num_threads(static_cast<int>(options->threads));
    vlm::share_threads();
    ProgressDisplay display(context.terminal);
    return vlm::with_errors([&] { return dispatch(*options, context); });
  });
}
