#include "system/system.h"

#include <algorithm>

#include "base/log.h"
#include "nn/quantised_matrices.h"

namespace vlm {

namespace {

// The renames of the layout whose names the checkpoint uses; none when it uses the names the code asks for.
std::vector<Rename> layout_of(const System& system, const TensorSource& source) {
  std::vector<std::string> names = source.names();
  for (const std::vector<Rename>& layout : system.layouts) {
    bool occurs = std::all_of(layout.begin(), layout.end(), [&](const Rename& rename) {
      return std::any_of(names.begin(), names.end(),
                         [&](const std::string& name) { return name.starts_with(rename.to); });
    });
    if (occurs) return layout;
  }
  return {};
}

LoadedModel bind_to(Checkpoint checkpoint, const System& system, const WeightsOptions& options) {
  if (system.complete) system.complete(checkpoint);
  LoadedModel loaded;
  loaded.system = &system;
  WeightsOptions with = options;
  with.quantised = std::make_shared<nn::QuantisedMatrices>();
  auto weights = std::make_shared<Weights>(checkpoint.source, with, layout_of(system, *checkpoint.source));
  loaded.model = system.make(checkpoint, *weights);
  weights->finish(system.slug);
  with.quantised->fill(*checkpoint.source, options.packed_place);
  loaded.weights = weights;
  std::vector<std::string> unread = checkpoint.config.unread();
  if (!unread.empty()) {
    std::string list;
    for (const std::string& key : unread) list += (list.empty() ? "" : ", ") + key;
    log(LogLevel::debug, "{}: config.json keys without effect here: {}", checkpoint.name, list);
  }
  loaded.checkpoint = std::move(checkpoint);
  return loaded;
}

}  // namespace

const System& find_system(const std::string& slug) {
  std::vector<std::string> slugs;
  for (const System& system : all_systems()) {
    if (slug == system.slug) return system;
    slugs.push_back(system.slug);
  }
  std::string near = nearest_word(slug, slugs);
  fail(ErrorKind::not_found, near.empty() ? "`vlm list` shows the systems" : "did you mean " + near + "?",
       "no system is called \"{}\"", slug);
}

const System& system_of(const Checkpoint& checkpoint) {
  const System* found = nullptr;
  for (const System& system : all_systems()) {
    if (!system.accepts(checkpoint)) continue;
    VLM_CHECK(!found, "{} and {} both accept {}", found->slug, system.slug, checkpoint.name);
    found = &system;
  }
  if (found) return *found;
  fail(ErrorKind::unsupported, "`vlm list` shows what works; --system forces one",
       "{}: no system here reads this checkpoint (config.json: architectures = {}, model_type = {})",
       checkpoint.name, checkpoint.config.find("architectures").dump(),
       checkpoint.config.find("model_type").dump());
}

LoadedModel bind_model(Checkpoint checkpoint, const WeightsOptions& options, const std::string& slug) {
  const System& system = slug.empty() ? system_of(checkpoint) : find_system(slug);
  return bind_to(std::move(checkpoint), system, options);
}

LoadedModel bind_random_model(Checkpoint checkpoint, uint64_t seed, const WeightsOptions& options,
                              const std::string& slug) {
  checkpoint.source = random_source(seed);
  const System& system = slug.empty() ? system_of(checkpoint) : find_system(slug);
  return bind_to(std::move(checkpoint), system, options);
}

}  // namespace vlm
