#include "app/cli/front/library.h"

#include <dlfcn.h>

#include <filesystem>

#include "base/error.h"

namespace vlm::cli {

int run_in_library(const Options& options) {
  namespace fs = std::filesystem;
  fs::path folder = options.program_folder;
  std::string reason;
  void* library = nullptr;
  for (const fs::path& place :
       {folder / ".." / "lib" / VLM_LIBRARY_NAME, folder / ".." / VLM_LIBRARY_FOLDER / VLM_LIBRARY_NAME,
        fs::path(VLM_LIBRARY_NAME)}) {
    if (place.has_parent_path() && !fs::exists(place)) continue;
    library = ::dlopen(place.c_str(), RTLD_LAZY | RTLD_LOCAL);
    if (library) break;
    const char* text = ::dlerror();
    if (reason.empty() && text) reason = text;
  }
  if (!library)
    fail(ErrorKind::not_found,
         "install it again (`make install`); the library belongs into ../lib beside the program",
         "the engine cannot be loaded: {}", reason);
  auto run = reinterpret_cast<decltype(&vlm_cli_run)>(::dlsym(library, "vlm_cli_run"));
  if (!run)
    fail(ErrorKind::not_found, "install program and library of the same version",
         "{} is not the engine of this program: it has no vlm_cli_run", VLM_LIBRARY_NAME);
  return run(&options);
}

}  // namespace vlm::cli
