// How large the published checkpoints of manifests/ are, in the file and in memory at each precision. Nothing
// but names and shapes is read.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "weights/weights.h"

namespace vlm {

inline constexpr std::array<Precision, 4> kPrecisions{Precision::f32, Precision::bf16, Precision::int8,
                                                      Precision::int4};

// What a stored tensor takes once it is loaded: matrices of linear layers in the precision, tables that are
// read row by row in 16 bits where the precision is not f32, everything else in float32.
int64_t loaded_bytes(const std::string& name, const Shape& shape, Precision precision);

struct PublishedSize {
  std::string slug;        // the manifest's folder
  std::string checkpoint;  // hub id
  int64_t parameters = 0;
  int64_t stored_bytes = 0;
  std::array<int64_t, 4> loaded{};  // in the order of kPrecisions
};

// All of a manifests folder, by slug and size.
std::vector<PublishedSize> read_published_sizes(const std::filesystem::path& manifests);

// The two files that tools/published_sizes.cc writes: docs/sizes.md, src/app/cli/sizes_table.cc.
std::string sizes_page(const std::vector<PublishedSize>& sizes);
std::string sizes_table(const std::vector<PublishedSize>& sizes);

}  // namespace vlm
