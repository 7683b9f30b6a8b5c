// Files that are installed with the library: the default model, manifests.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace vlm {

// Where `name` may lie, most wanted first: VLM_ASSETS; PREFIX/share/vlm beside the library; the source tree
// of a build, below `tree_folder` ("" its root).
std::vector<std::filesystem::path> shared_places(const std::string& name, const std::string& tree_folder);

}  // namespace vlm
