#include "app/cli/front/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"

namespace vlm::cli {

namespace {

// libgomp's threads, which LibTorch and OpenBLAS use, spin for milliseconds after every loop unless they are
// told otherwise when it is loaded: on the processors of the engine's own threads and of every other program.
// About 20 microseconds reach from one of LibTorch's loops to the next.
void keep_openmp_from_spinning() {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  ::setenv("GOMP_SPINCOUNT", "2000", 0);
}

}  // namespace

int run_in_library(const Options& options) {
  namespace fs = std::filesystem;
  fs::path folder = options.program_folder;
  std::string reason;
  void* library = nullptr;
  keep_openmp_from_spinning();
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
