#include "train/training_state.h"

#include "weights/source.h"
#include "weights/writer.h"

namespace vlm {

namespace {

Tensor number(int64_t value) {
  return at::full({1}, value, at::kLong);
}

using Named = std::map<std::string, Tensor>;

}  // namespace

void save_training_state(const std::filesystem::path& folder, const TrainingState& state) {
  NamedTensors tensors = {{"state/stage", number(state.stage)},
                          {"state/step", number(state.step)},
                          {"state/adam_steps", number(state.adam_steps)}};
  auto add = [&](const char* group, const Named& named) {
    for (const auto& [name, value] : named) tensors.emplace_back(group + name, value.detach());
  };
  add("parameter/", state.parameters);
  add("first/", state.first);
  add("second/", state.second);
  add("average/", state.averages);
  std::filesystem::create_directories(folder);
  write_safetensors(folder / kTrainingStateFile, tensors);
}

std::optional<TrainingState> load_training_state(const std::filesystem::path& folder) {
  std::filesystem::path file = folder / kTrainingStateFile;
  if (!std::filesystem::exists(file)) return std::nullopt;
  std::shared_ptr<const TensorSource> source = open_safetensors(file);
  auto number = [&](const char* name) {
    if (!source->has(name) || source->info(name).shape != Shape{1})
      fail(ErrorKind::bad_checkpoint, "move the file away to begin anew", "{}: no state of a training run",
           file.string());
    return source->load(name).to(at::kLong).item<int64_t>();
  };
  TrainingState state;
  state.stage = number("state/stage");
  state.step = number("state/step");
  state.adam_steps = number("state/adam_steps");
  for (const std::string& name : source->names()) {
    for (auto [group, named] : {std::pair{"parameter/", &state.parameters},
                                {"first/", &state.first},
                                {"second/", &state.second},
                                {"average/", &state.averages}}) {
      std::string_view prefix(group);
      // A copy: the file may be replaced while the run goes on.
      if (name.starts_with(prefix)) (*named)[name.substr(prefix.size())] = source->load(name).clone();
    }
  }
  return state;
}

}  // namespace vlm
