// How large the published checkpoints of a system are, for `vlm show`. A table, so that nothing is read.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

namespace vlm::cli {

struct SizeRow {
  std::string_view slug;
  std::string_view checkpoint;
  int64_t parameters;
  int64_t stored_bytes;
  std::array<int64_t, 4> loaded;  // f32, bf16, int8, int4
};
std::span<const SizeRow> size_rows();  // sizes_table.cc, by slug and size

// One line for each checkpoint; empty for systems without published sizes.
std::string sizes_text(const std::string& slug);
nlohmann::ordered_json sizes_json(const std::string& slug);

}  // namespace vlm::cli
