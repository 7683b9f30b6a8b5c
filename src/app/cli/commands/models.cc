#include "app/cli/commands/models.h"

#include <chrono>

namespace vlm::cli {

LoadOptions load_options(const ModelOptions& options) {
  return {.precision = precision_or_auto(options.precision),
          .kv_precision = kv_precision_or_auto(options.kv_precision),
          .revision = options.revision,
          .base = options.base,
          .system = options.system,
          .lenient = options.lenient,
          .keep_quantised = !options.no_cache};
}

std::shared_ptr<const LoadedModel> open_model(const ModelOptions& options) {
  auto begin = std::chrono::steady_clock::now();
  std::shared_ptr<const LoadedModel> loaded = load_model(options.model, load_options(options));
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  log(LogLevel::debug, "{}: {}, {}, loaded in {}", loaded->checkpoint.name, loaded->system->slug,
      precision_name(loaded->weights->options().precision), seconds_text(seconds));
  return loaded;
}

}  // namespace vlm::cli
