#include <unistd.h>

#include "app/cli/commands/models.h"
#include "train/calibrate.h"
#include "train/save.h"
#include "weights/delta_source.h"

namespace vlm::cli {

namespace {

// What the model is given when it runs over the user's pictures, in the precision that it runs best in here.
std::map<std::string, Tensor> importance_of(const std::filesystem::path& from,
                                            const QuantiseSettings& options,
                                            const QuantizeOptions& quantize) {
  Checkpoint checkpoint = Checkpoint::open(from);
  if (!options.base.empty()) checkpoint.source = delta_source(checkpoint.source, open_weights(options.base));
  Precision precision = choose_precision(*checkpoint.source);
  return calibrate(std::move(checkpoint), precision,
                   {.data = quantize.calibrate, .count = quantize.calibrate_count});
}

}  // namespace

int run_command(const QuantizeOptions& quantize, const Context& context) {
  const std::string& word = quantize.precision;
  std::filesystem::path from = find_model(quantize.model, quantize.revision), to = quantize.output;
  if (std::filesystem::exists(to) && !std::filesystem::is_empty(to))
    fail(ErrorKind::bad_request, "name a new folder", "{} is not empty", to.string());
  QuantiseSettings options;
  options.precision = precision_from(word);
  if (!quantize.base.empty()) options.base = find_model(quantize.base);
  if (!quantize.calibrate.empty()) options.importance = importance_of(from, options, quantize);
  // All of it or nothing: written beside its place, then moved there.
  std::filesystem::path partial = std::filesystem::absolute(to).lexically_normal();
  if (!partial.has_filename()) partial = partial.parent_path();
  partial += fmt::format(".part-{}", ::getpid());
  try {
    quantise_checkpoint(from, partial, options);
    std::filesystem::rename(partial, to);
  } catch (...) {
    std::error_code ignored;
    std::filesystem::remove_all(partial, ignored);
    throw;
  }
  auto size_of = [](const std::filesystem::path& folder) {
    int64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
      if (entry.is_regular_file()) bytes += static_cast<int64_t>(entry.file_size());
    return bytes;
  };
  int64_t before = size_of(from), after = size_of(to);
  if (context.options.json)
    print_json({{"folder", to.string()}, {"precision", word}, {"bytes_before", before}, {"bytes", after}});
  else
    print(fmt::format("{}: {}, {} in place of {}\n", to.string(), word,
                      bytes_text(static_cast<double>(after)), bytes_text(static_cast<double>(before))));
  return kExitOk;
}

}  // namespace vlm::cli
