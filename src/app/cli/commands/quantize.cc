#include <unistd.h>

#include "app/cli/commands/models.h"
#include "train/save.h"

namespace vlm::cli {

int run_command(const QuantizeOptions& quantize, const Context& context) {
  const std::string& word = quantize.precision;
  std::filesystem::path from = find_model(quantize.model, quantize.revision), to = quantize.output;
  if (std::filesystem::exists(to) && !std::filesystem::is_empty(to))
    fail(ErrorKind::bad_request, "name a new folder", "{} is not empty", to.string());
  // All of it or nothing: written beside its place, then moved there.
  std::filesystem::path partial = std::filesystem::absolute(to).lexically_normal();
  if (!partial.has_filename()) partial = partial.parent_path();
  partial += fmt::format(".part-{}", ::getpid());
  try {
    quantise_checkpoint(from, partial, precision_from(word));
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
