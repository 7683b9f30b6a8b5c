#include "train/compose.h"

#include <filesystem>

#include "app/cli/commands/command.h"

namespace vlm::cli {

int run_command(const ComposeOptions& compose, const Context& context) {
  std::filesystem::path folder = compose.output;
  if (std::filesystem::exists(folder) && !std::filesystem::is_empty(folder))
    fail(ErrorKind::bad_request, "name a new folder", "{} is not empty", folder.string());
  ComposeResult result = compose_checkpoint(compose.config, folder, compose.seed);
  if (context.options.json)
    print_json({{"folder", folder.string()},
                {"parameters", result.parameters},
                {"fresh_parameters", result.fresh_parameters}});
  else
    print(fmt::format("{}: {} parameters, {} of them to be trained from the start\n", folder.string(),
                      count_text(static_cast<double>(result.parameters)),
                      count_text(static_cast<double>(result.fresh_parameters))));
  return kExitOk;
}

}  // namespace vlm::cli
