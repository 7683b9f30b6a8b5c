#include "app/cli/sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/cli/terminal.h"

namespace vlm::cli {

namespace {

constexpr const char* kPrecisionNames[] = {"f32", "bf16", "int8", "int4"};

}  // namespace

std::string sizes_text(const std::string& slug) {
  size_t width = 0;
  for (const SizeRow& row : size_rows())
    if (row.slug == slug) width = std::max(width, row.checkpoint.size());
  if (width == 0) return "";
  std::string text = fmt::format("\n{:<{}}  {:>8}  {:>8}", "weights in memory", width, "values", "files");
  for (const char* name : kPrecisionNames) text += fmt::format("  {:>8}", name);
  text += "\n";
  for (const SizeRow& row : size_rows()) {
    if (row.slug != slug) continue;
    text += fmt::format("{:<{}}  {:>8}  {:>8}", row.checkpoint, width,
                        count_text(static_cast<double>(row.parameters)),
                        bytes_text(static_cast<double>(row.stored_bytes)));
    for (int64_t bytes : row.loaded) text += fmt::format("  {:>8}", bytes_text(static_cast<double>(bytes)));
    text += "\n";
  }
  return text;
}

nlohmann::ordered_json sizes_json(const std::string& slug) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const SizeRow& row : size_rows()) {
    if (row.slug != slug) continue;
    nlohmann::ordered_json memory;
    for (size_t idx = 0; idx < row.loaded.size(); ++idx) memory[kPrecisionNames[idx]] = row.loaded[idx];
    list.push_back({{"checkpoint", row.checkpoint},
                    {"parameters", row.parameters},
                    {"file_bytes", row.stored_bytes},
                    {"memory_bytes", memory}});
  }
  return list;
}

}  // namespace vlm::cli
