// Finds libvlm.so and hands a command over to it.
#pragma once

#include "app/cli/options.h"

namespace vlm::cli {

// ../lib of the executable's folder, where build and installation have it, else wherever the loader looks.
// Throws not_found with the loader's reason.
int run_in_library(const Options& options);

}  // namespace vlm::cli
