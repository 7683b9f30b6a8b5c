// Runs a reference case and compares every tensor it checks (docs/reference-cases.md).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "system/system.h"

namespace vlm {

struct TensorCheck {
  std::string tensor;
  bool passed = false;
  bool exact = false;
  double atol = 0, rtol = 0;
  double largest_error = 0;  // absolute, of the element that is furthest beyond its tolerance
  std::string detail;        // what is wrong: shapes, the place, expected and found
};

struct CaseReport {
  std::string name;  // folder name
  std::string system;
  std::string task;
  std::vector<TensorCheck> checks;
  std::string first_difference;  // the earliest intermediate out of tolerance, when a check failed
  std::string error;             // the case could not be run
  bool passed() const;           // every check was computed and is within its tolerance
};

// Never throws for what is wrong with the case or the engine: it is in the report.
CaseReport verify_case(const std::filesystem::path& folder, const WeightsOptions& options = {});

// The case folders among the given paths and directly below them. Throws not_found when a path has none.
std::vector<std::filesystem::path> find_cases(const std::vector<std::filesystem::path>& paths);

}  // namespace vlm
