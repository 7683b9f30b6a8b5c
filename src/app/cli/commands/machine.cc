#include "app/cli/commands/machine.h"

#include <ATen/Version.h>
#include <dlfcn.h>

#include <filesystem>
#include <fstream>

namespace vlm::cli {

std::string value_of(const char* file, const std::string& key) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (!line.starts_with(key)) continue;
    size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

std::string blas_text() {
  if (auto describe = reinterpret_cast<char* (*)()>(::dlsym(RTLD_DEFAULT, "openblas_get_config")))
    return describe();
  Dl_info info{};
  void* product = ::dlsym(RTLD_DEFAULT, "sgemm_");
  if (!product || ::dladdr(product, &info) == 0) return "inside the tensor library";
  return std::filesystem::weakly_canonical(info.dli_fname).string();
}

std::string torch_version() {
  std::string config = at::show_config();
  size_t begin = config.find("TORCH_VERSION=");
  if (begin == std::string::npos) return "unknown";
  begin += std::string("TORCH_VERSION=").size();
  return config.substr(begin, config.find_first_of(",\n ", begin) - begin);
}

}  // namespace vlm::cli
