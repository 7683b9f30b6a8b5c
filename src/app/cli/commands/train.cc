// train, data make.
#include "train/train.h"

#include <filesystem>

#include "app/cli/commands/command.h"
#include "train/data/dataset.h"

namespace vlm::cli {

int run_command(const TrainOptions& train, const Context& context) {
  Recipe recipe = read_recipe(train.recipe, train.overrides);
  catch_interrupts(Interrupts::also_on_term);
  TrainResult result = run_recipe(recipe, {.stop = &interrupted, .resume = !train.restart});
  if (context.options.json)
    print_json({{"finished", result.finished},
                {"stage", result.stage},
                {"step", result.step},
                {"loss", result.loss},
                {"folder", recipe.output.string()}});
  else if (result.finished)
    print(fmt::format("{}: finished, loss {:.4g}; the model is in {}\n", recipe.name, result.loss,
                      recipe.output.string()));
  else
    print(fmt::format("{}: stopped in stage {} after step {}; run the command again to go on\n", recipe.name,
                      result.stage, result.step));
  return result.finished ? kExitOk : kExitInterrupted;
}

int run_command(const DataMakeOptions& make, const Context& context) {
  data::DataOptions options;
  options.height = options.width = make.size_px;
  options.scene.split = make.split == "test" ? data::Split::test : data::Split::train;
  data::make_dataset(make.folder, make.count, make.seed, options);
  std::string list = (std::filesystem::path(make.folder) / "data.json").string();
  if (context.options.json)
    print_json({{"count", make.count}, {"data", list}});
  else
    print(fmt::format("{} pictures with questions and answers: {}\n", make.count, list));
  return kExitOk;
}

}  // namespace vlm::cli
