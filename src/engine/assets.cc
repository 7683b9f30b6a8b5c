#include "engine/assets.h"

#include <dlfcn.h>

#include <cstdlib>

namespace vlm {

namespace fs = std::filesystem;

namespace {

// The file this function was linked into: libvlm.so, or a program that holds the library.
fs::path own_file() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&shared_places), &info) == 0 || !info.dli_fname) return {};
  std::error_code ignored;
  return fs::canonical(info.dli_fname, ignored);
}

}  // namespace

std::vector<fs::path> shared_places(const std::string& name, const std::string& tree_folder) {
  std::vector<fs::path> places;
  if (const char* assets = std::getenv("VLM_ASSETS"); assets && *assets)
    places.push_back(fs::path(assets) / name);
  // PREFIX/lib/libvlm.so, PREFIX/lib/x86_64-linux-gnu/libvlm.so or PREFIX/bin/program; a build folder lies in
  // the source tree.
  fs::path prefix = own_file().parent_path();
  for (int level = 0; level < 2 && prefix.has_relative_path(); ++level) {
    prefix = prefix.parent_path();
    places.push_back(prefix / "share" / "vlm" / name);
    places.push_back(prefix / tree_folder / name);
  }
  return places;
}

}  // namespace vlm
