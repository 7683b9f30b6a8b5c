// Every published checkpoint of manifests/ binds to its system at full size: nothing missing, nothing unused,
// and as many parameters as were published. No weights are needed.
#include <gtest/gtest.h>

#include <algorithm>

#include "system/system.h"
#include "weights/shapes_source.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

const fs::path kManifests = VLM_SOURCE_DIR "/manifests";

// Manifests whose system is in the table; the folder is the slug.
std::vector<fs::path> manifests() {
  std::vector<fs::path> paths;
  for (const System& system : all_systems()) {
    fs::path folder = kManifests / system.slug;
    if (!fs::is_directory(folder)) continue;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".gz") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

int64_t floating_elements(const TensorSource& source, const std::string& prefix) {
  int64_t sum = 0;
  for (const std::string& name : source.names()) {
    TensorInfo info = source.info(name);
    if (name.starts_with(prefix) && at::isFloatingType(info.dtype)) sum += c10::multiply_integers(info.shape);
  }
  return sum;
}

class Binding : public testing::TestWithParam<fs::path> {};

TEST_P(Binding, TakesEveryTensor) {
  Json manifest = read_manifest(GetParam());
  Checkpoint checkpoint = Checkpoint::from_manifest(GetParam());
  int64_t expected = manifest.at("parameters").as<int64_t>();
  if (checkpoint.config.has("mm_vision_tower")) {
    std::string tower =
        fs::path(checkpoint.config.at("mm_vision_tower").as<std::string>()).filename().string();
    fs::path place = kManifests / "clip" / (tower + ".json.gz");
    if (!fs::exists(place)) place = kManifests / "siglip" / (tower + ".json.gz");
    Checkpoint named = Checkpoint::from_manifest(place);
    // A tower that was tuned is stored; of the named one only the config counts.
    std::vector<std::string> names = checkpoint.source->names();
    if (std::any_of(names.begin(), names.end(), [](const std::string& name) {
          return name.starts_with("model.vision_tower.vision_tower.");
        })) {
      checkpoint.vision_tower = std::make_shared<Checkpoint>(std::move(named));
    } else {
      expected += floating_elements(*named.source, "vision_model.");
      checkpoint.add_vision_tower(std::move(named));
    }
  }
  LoadedModel loaded = bind_model(std::move(checkpoint), {});
  EXPECT_EQ(loaded.system->slug, GetParam().parent_path().filename().string());
  // Weights without effect are counted where a checkpoint publishes them (attention pools that nothing
  // reads); buffers and the zero biases of packed layers never are.
  int64_t bound = loaded.weights->parameter_count(), unread = 0;
  for (const std::string& name : loaded.weights->ignored_names()) {
    TensorInfo info = loaded.weights->source().info(name);
    if (at::isFloatingType(info.dtype)) unread += c10::multiply_integers(info.shape);
  }
  EXPECT_EQ(bound == expected ? bound : bound + unread, expected) << "bound: " << bound;
}

std::string test_name(const testing::TestParamInfo<fs::path>& info) {
  std::string name = info.param.parent_path().filename().string() + "_" + info.param.stem().stem().string();
  for (char& letter : name)
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Published, Binding, testing::ValuesIn(manifests()), test_name);

}  // namespace
}  // namespace vlm
