#include "app/cli/status.h"

#include <fmt/format.h>

namespace vlm::cli {

std::string status_of(const std::string& slug) {
  for (const SystemStatus& status : system_statuses()) {
    if (status.slug != slug) continue;
    if (status.num_cases == 0) return "built, no case yet";
    return fmt::format("works ({} case{})", status.num_cases, status.num_cases == 1 ? "" : "s");
  }
  return "not yet";
}

}  // namespace vlm::cli
