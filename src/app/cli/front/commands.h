// Every command with its options: the grammar of the command line, and the texts of its help.
#pragma once

#include "app/cli/front/parse.h"

namespace vlm::cli {

// Parsing with `app` fills `parsed`, which has to live as long.
void add_commands(CLI::App& app, Parsed& parsed);

}  // namespace vlm::cli
