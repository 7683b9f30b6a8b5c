// The quantised weights that loading keeps (engine/quantised_cache.h).
#include "app/cli/commands/models.h"
#include "engine/quantised_cache.h"

namespace vlm::cli {

namespace {

int list(const Context& context) {
  std::vector<KeptModel> models = kept_models();
  std::filesystem::path folder = quantised_cache_folder();
  if (context.options.json) {
    nlohmann::ordered_json json{{"folder", folder.string()}, {"models", nlohmann::ordered_json::array()}};
    for (const KeptModel& model : models)
      json["models"].push_back({{"file", model.file.filename().string()},
                                {"checkpoint", model.checkpoint},
                                {"precision", model.precision},
                                {"bytes", model.bytes}});
    print_json(json);
    return kExitOk;
  }
  if (folder.empty()) {
    print("nothing is kept: VLM_CACHE is \"off\", or there is no home folder\n");
    return kExitOk;
  }
  print(context.terminal.out.paint(Ink::dim, folder.string()) + (models.empty() ? ": empty\n" : "\n"));
  for (const KeptModel& model : models)
    print(fmt::format("{:>9}  {:<5} {}\n", bytes_text(static_cast<double>(model.bytes)), model.precision,
                      model.checkpoint));
  return kExitOk;
}

}  // namespace

int run_command(const CacheOptions& cache, const Context& context) {
  if (!cache.clear) return list(context);
  int64_t freed = clear_kept_models();
  if (context.options.json)
    print_json({{"folder", quantised_cache_folder().string()}, {"bytes_freed", freed}});
  else
    print(fmt::format("{} freed\n", bytes_text(static_cast<double>(freed))));
  return kExitOk;
}

}  // namespace vlm::cli
