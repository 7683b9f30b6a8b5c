// What this machine has, and what will be used.
#include <curl/curl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "app/cli/commands/machine.h"
#include "app/cli/commands/models.h"
#include "app/cli/status.h"
#include "base/parallel.h"
#include "engine/quantised_cache.h"
#include "ops/describe.h"
#include "system/hub_cache.h"

namespace vlm::cli {

namespace {

std::string cpu_features() {
  std::string flags = " " + value_of("/proc/cpuinfo", "flags") + value_of("/proc/cpuinfo", "Features") + " ",
              found;
  for (const char* word : {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni",
                           "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve"})
    if (flags.find(" " + std::string(word) + " ") != std::string::npos)
      found += (found.empty() ? "" : " ") + std::string(word);
  return found.empty() ? "none that is used" : found;
}

double kilobytes_of(const std::string& key) {
  std::string text = value_of("/proc/meminfo", key);
  return text.empty() ? 0 : std::stod(text) * 1024;
}

std::string default_model(const ModelOptions& options) {
  try {
    return find_model(options.model).string();
  } catch (const Error& error) {
    return error.message();
  }
}

std::string quantised_text() {
  std::filesystem::path folder = quantised_cache_folder();
  if (folder.empty()) return "not kept (VLM_CACHE=off, or no home folder)";
  std::vector<KeptModel> models = kept_models();
  int64_t bytes = 0;
  for (const KeptModel& model : models) bytes += model.bytes;
  return models.empty()
             ? folder.string() + " (empty)"
             : fmt::format("{} ({} of {})", folder.string(), bytes_text(static_cast<double>(bytes)),
                           models.size() == 1 ? "one model" : fmt::format("{} models", models.size()));
}

std::string systems_text() {
  size_t works = 0;
  for (const SystemStatus& status : system_statuses()) works += status.num_cases > 0 ? 1 : 0;
  return fmt::format("{} systems reproduce their reference cases (`vlm list`)", works);
}

}  // namespace

int run_command(const DoctorOptions&, const Context& context) {
  utsname machine{};
  ::uname(&machine);
  std::vector<std::pair<std::string, std::string>> facts{
      {"vlm", VLM_VERSION},
      {"system", fmt::format("{} {} {}", machine.sysname, machine.release, machine.machine)},
      {"processor", value_of("/proc/cpuinfo", "model name")},
      {"features", cpu_features()},
      {"threads", fmt::format("{} of {} cores", num_threads(), std::thread::hardware_concurrency())},
      {"memory", fmt::format("{} free of {}", bytes_text(kilobytes_of("MemAvailable")),
                             bytes_text(kilobytes_of("MemTotal")))},
      {"kernels", ops::kernels_text()},
      {"libtorch", torch_version()},
      {"blas", blas_text()},
      {"libcurl", curl_version_info(CURLVERSION_NOW)->version},
      {"hub cache",
       hub_cache_folder().string() + (std::filesystem::exists(hub_cache_folder()) ? "" : " (not there yet)")},
      {"quantised", quantised_text()},
      {"default model", default_model({})},
      {"systems", systems_text()}};
  if (context.options.json) {
    nlohmann::ordered_json json;
    for (const auto& [name, text] : facts) json[name] = text;
    print_json(json);
    return kExitOk;
  }
  for (const auto& [name, text] : facts)
    print(context.terminal.out.paint(Ink::dim, fmt::format("{:<15}", name)) + text + "\n");
  return kExitOk;
}

}  // namespace vlm::cli
