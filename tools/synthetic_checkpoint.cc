// Makes a checkpoint of a published model's real size with made-up weights, to measure what size costs:
//
//   build/bin/synthetic_checkpoint MANIFEST.json.gz TOKENIZER_FOLDER OUT
//
// Names, shapes and config are the manifest's; values depend on names alone, in bfloat16, shards of 2 GB. The
// tokenizer is a small one (tests/cases/llava-1.5-a/checkpoint, say), so the config's image token becomes
// that tokenizer's.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "text/tokenizer.h"
#include "weights/shapes_source.h"
#include "weights/writer.h"

namespace {

namespace fs = std::filesystem;
using namespace vlm;

constexpr int64_t kShardBytes = int64_t{2} << 30;
constexpr uint64_t kSeed = 1;

void write_shards(const TensorSource& shapes, const fs::path& folder) {
  std::vector<std::vector<std::string>> shards(1);
  int64_t bytes = 0, total = 0;
  for (const std::string& name : shapes.names()) {
    int64_t size = c10::multiply_integers(shapes.info(name).shape) * 2;
    if (bytes > 0 && bytes + size > kShardBytes) shards.emplace_back(), bytes = 0;
    shards.back().push_back(name);
    bytes += size, total += size;
  }
  auto values = random_source(kSeed);
  nlohmann::ordered_json index{{"metadata", {{"total_size", total}}},
                               {"weight_map", nlohmann::ordered_json::object()}};
  for (size_t shard = 0; shard < shards.size(); ++shard) {
    std::string file = fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards.size());
    NamedTensors tensors;
    for (const std::string& name : shards[shard]) {
      TensorInfo info = shapes.info(name);
      at::ScalarType type = at::isFloatingType(info.dtype) ? at::kBFloat16 : info.dtype;
      tensors.emplace_back(name, values->load_shaped(name, info.shape).to(type));
      index["weight_map"][name] = file;
    }
    write_safetensors(folder / file, tensors);
    std::fprintf(stderr, "%s\n", file.c_str());
  }
  write_text(folder / "model.safetensors.index.json", index.dump(1));
}

void make(const fs::path& manifest_path, const fs::path& tokenizer, const fs::path& folder) {
  fs::create_directories(folder);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"})
    if (fs::exists(tokenizer / file))
      fs::copy_file(tokenizer / file, folder / file, fs::copy_options::overwrite_existing);
  Json manifest = read_manifest(manifest_path);
  nlohmann::json config = manifest.at("config").raw();
  if (auto image = load_tokenizer(tokenizer).tokenizer->token_to_id("<image>"))
    config["image_token_index"] = *image;
  write_text(folder / "config.json", config.dump(1));
  Json files = manifest.find("files");
  for (const std::string& name : files.keys())
    if (name.ends_with(".json") && name != "generation_config.json")
      write_text(folder / name, files.at(name).raw().dump(1));
  write_shards(*shapes_source(manifest_path), folder);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: synthetic_checkpoint MANIFEST.json.gz TOKENIZER_FOLDER OUT\n");
    return 2;
  }
  try {
    make(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
