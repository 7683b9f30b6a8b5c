// An answer chosen from a list: run --choose.
#pragma once

#include "app/cli/commands/command.h"
#include "system/system.h"

namespace vlm::cli {

// Prints the answers, likeliest first, with their shares among each other.
void print_choices(const LoadedModel& loaded, const Request& request, const std::vector<std::string>& answers,
                   const Context& context);

}  // namespace vlm::cli
