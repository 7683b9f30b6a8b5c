// Models as the commands use them.
#pragma once

#include "app/cli/commands/command.h"
#include "engine/load.h"

namespace vlm::cli {

LoadOptions load_options(const ModelOptions& options);
std::shared_ptr<const LoadedModel> open_model(const ModelOptions& options);  // load_model() with a note

// The capability, or an error that names the commands which work with this model. `what`: "cannot ...".
template <typename Capability>
const Capability& need(const LoadedModel& loaded, const char* what) {
  if (const auto* found = as<Capability>(*loaded.model)) return *found;
  const char* hint = "`vlm show` tells what a model can do";
  if (as<Generator>(*loaded.model)) hint = "this model answers questions: vlm run";
  if (as<Embedder>(*loaded.model)) hint = "this model compares pictures and texts: vlm embed, vlm similarity";
  if (as<Classifier>(*loaded.model)) hint = "this model knows fixed classes: vlm classify without --labels";
  fail(ErrorKind::unsupported, hint, "{} ({}) {}", loaded.checkpoint.name, loaded.system->slug, what);
}

}  // namespace vlm::cli
