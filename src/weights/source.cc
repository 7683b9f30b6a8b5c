#include "weights/source.h"

#include <algorithm>
#include <map>
#include <regex>

#include "base/files.h"
#include "base/json.h"
#include "weights/source_bytes.h"

namespace vlm {

namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNamesInMessage = 5;
constexpr int64_t kMaxIndexBytes = 100'000'000;

// Several files as one. Where two of them store a name, the first one given wins.
class ManySources final : public TensorSource {
 public:
  ManySources(std::string description, std::vector<std::shared_ptr<const TensorSource>> parts)
      : description_(std::move(description)), parts_(std::move(parts)) {
    for (size_t part = 0; part < parts_.size(); ++part)
      for (const std::string& name : parts_[part]->names()) part_of_.emplace(name, part);
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> sorted;
    for (const auto& item : part_of_) sorted.push_back(item.first);
    return sorted;
  }
  bool has(const std::string& name) const override { return part_of_.count(name) > 0; }
  TensorInfo info(const std::string& name) const override { return part(name).info(name); }
  Tensor load(const std::string& name) const override { return part(name).load(name); }
  std::string describe() const override { return description_; }
  std::span<const std::byte> mapped_bytes(const std::string& name) const override {
    return part(name).mapped_bytes(name);
  }
  std::vector<fs::path> files() const override {
    std::vector<fs::path> all;
    for (const auto& part : parts_)
      for (const fs::path& file : part->files()) all.push_back(file);
    return all;
  }

  void assign(const std::string& name, size_t part) { part_of_[name] = part; }

 private:
  const TensorSource& part(const std::string& name) const {
    auto found = part_of_.find(name);
    if (found == part_of_.end())
      fail(ErrorKind::not_found, "list the names that are there", "{}: no tensor {}", description_,
           quoted_name(name));
    return *parts_[found->second];
  }

  std::string description_;
  std::vector<std::shared_ptr<const TensorSource>> parts_;
  std::map<std::string, size_t> part_of_;
};

std::string some_of(const std::vector<std::string>& words) {
  std::string text;
  for (size_t idx = 0; idx < std::min(words.size(), kMaxNamesInMessage); ++idx)
    text += (idx ? ", " : "") + words[idx];
  if (words.size() > kMaxNamesInMessage)
    text += fmt::format(" and {} more", words.size() - kMaxNamesInMessage);
  return text;
}

std::string and_more(const std::vector<std::string>& files) {
  return files.size() == 1 ? files[0] : fmt::format("{} and {} more", files[0], files.size() - 1);
}

bool ends_with_any(const std::string& name, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(),
                     [&](std::string_view end) { return name.ends_with(end); });
}

std::shared_ptr<const TensorSource> open_index(const fs::path& index_path);

std::shared_ptr<const TensorSource> open_file(const fs::path& path) {
  std::string name = path.filename().string();
  if (name.ends_with(".index.json")) return open_index(path);
  auto file = MappedFile::open(path);
  std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  if (text.starts_with("version https://git-lfs"))
    fail(ErrorKind::bad_checkpoint, "fetch the contents: git lfs pull, or download the file again",
         "{} is a Git LFS pointer of {} bytes, not the weights themselves", path.string(), text.size());
  if (text.starts_with("GGUF")) return open_gguf(path);
  if (text.starts_with("PK") || text.starts_with("\x80\x02")) return open_pytorch(path);
  if (name.ends_with(".safetensors") || (text.size() > 8 && text[8] == '{')) return open_safetensors(path);
  if (name.ends_with(".gguf")) return open_gguf(path);
  if (ends_with_any(name, {".bin", ".pth", ".pt", ".ckpt"})) return open_pytorch(path);
  fail(ErrorKind::unsupported, "name a safetensors, PyTorch or GGUF file, or a folder that has one",
       "{}: this is not a kind of weight file that is known", path.string());
}

std::shared_ptr<const TensorSource> open_files(const fs::path& folder,
                                               const std::vector<std::string>& files) {
  if (files.size() == 1) return open_file(folder / files[0]);
  std::vector<std::shared_ptr<const TensorSource>> parts;
  for (const std::string& file : files) parts.push_back(open_file(folder / file));
  return std::make_shared<ManySources>(and_more(files), std::move(parts));
}

// An index comes from strangers: a shard is a file beside it, never a path.
void check_shard_name(const std::string& shard, const fs::path& index_path) {
  bool is_plain = !shard.empty() && shard != "." && shard != ".." && shard.find('/') == std::string::npos &&
                  shard.find('\\') == std::string::npos && shard.find('\0') == std::string::npos &&
                  !shard.ends_with(".index.json");
  if (!is_plain)
    fail(ErrorKind::bad_checkpoint, "get the index again, from a publisher you trust",
         "{}: weight_map names the shard \"{}\", which is not a plain file name", index_path.string(),
         quoted_name(shard));
}

std::shared_ptr<const TensorSource> open_index(const fs::path& index_path) {
  fs::path folder = index_path.parent_path();
  Json index = Json::parse(read_text(index_path, kMaxIndexBytes), index_path.filename().string());
  Json weight_map = index.at("weight_map");
  if (!weight_map.is_object() || weight_map.size() == 0)
    fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: weight_map is not a table of tensors and files",
         index_path.string());
  std::map<std::string, size_t> part_of;  // shard to position, sorted by name
  for (const std::string& name : weight_map.keys()) part_of.emplace(weight_map.at(name).as<std::string>(), 0);
  std::vector<std::string> shards;
  std::vector<std::string> missing;
  for (auto& [shard, part] : part_of) {
    check_shard_name(shard, index_path);
    part = shards.size();
    shards.push_back(shard);
    if (!fs::exists(folder / shard)) missing.push_back(shard);
  }
  if (!missing.empty())
    fail(ErrorKind::bad_checkpoint, fmt::format("download the missing files into {}", folder.string()),
         "{}: {} of {} shards are missing: {}", index_path.string(), missing.size(), shards.size(),
         some_of(missing));
  std::vector<std::shared_ptr<const TensorSource>> parts;
  for (const std::string& shard : shards) parts.push_back(open_file(folder / shard));
  auto source = std::make_shared<ManySources>(and_more(shards), parts);
  std::vector<std::string> absent;
  for (const std::string& name : weight_map.keys()) {
    std::string shard = weight_map.at(name).as<std::string>();
    if (parts[part_of[shard]]->has(name))
      source->assign(name, part_of[shard]);
    else
      absent.push_back(quoted_name(name) + " (" + shard + ")");
  }
  if (!absent.empty())
    fail(ErrorKind::bad_checkpoint, "index and shards are of different versions; download all of them again",
         "{}: {} of {} tensors are not in the shard that the index names: {}", index_path.string(),
         absent.size(), weight_map.size(), some_of(absent));
  return source;
}

// What training leaves beside the weights.
bool is_no_weight_file(const std::string& name) {
  static const std::regex pattern(
      R"(^(training_args|optimizer|scheduler|scaler|rng_state|trainer_state)[^/]*$)");
  return name.starts_with(".") || std::regex_match(name, pattern);
}

// Files named ...-00001-of-00003... belong together; all of them must be there.
std::vector<std::string> complete_shards(const fs::path& folder, const std::vector<std::string>& files) {
  static const std::regex pattern(R"(^(.*)-(\d{5})-of-(\d{5})(\.[^.]+)$)");
  std::string family;
  int64_t total = 0;
  for (const std::string& file : files) {
    std::smatch match;
    if (!std::regex_match(file, match, pattern)) return {};
    std::string of = match[1].str() + "/" + match[3].str() + match[4].str();
    if (!family.empty() && family != of) return {};
    family = of;
    total = std::stoll(match[3].str());
  }
  if (static_cast<int64_t>(files.size()) != total)
    fail(ErrorKind::bad_checkpoint, fmt::format("download the missing files into {}", folder.string()),
         "{}: {} of {} shards are there: {}", folder.string(), files.size(), total, some_of(files));
  return files;
}

struct Family {
  const char* word;
  std::vector<const char*> first_choices;
  std::vector<std::string_view> endings;
};

const std::vector<Family>& families() {  // the first one that a folder has is read
  static const std::vector<Family> all = {
      {"safetensors", {"model.safetensors", "model.safetensors.index.json"}, {".safetensors"}},
      {"PyTorch", {"pytorch_model.bin", "pytorch_model.bin.index.json"}, {".bin", ".pth", ".pt", ".ckpt"}},
      {"GGUF", {"model.gguf"}, {".gguf"}},
  };
  return all;
}

std::shared_ptr<const TensorSource> open_family(const fs::path& folder, const Family& family,
                                                const std::vector<std::string>& all_files) {
  for (const char* choice : family.first_choices)
    if (std::binary_search(all_files.begin(), all_files.end(), choice)) return open_file(folder / choice);
  std::vector<std::string> indices;
  std::vector<std::string> files;
  for (const std::string& file : all_files)
    for (std::string_view ending : family.endings) {
      if (file.ends_with(ending)) files.push_back(file);
      if (file.ends_with(std::string(ending) + ".index.json")) indices.push_back(file);
    }
  if (indices.size() == 1) return open_index(folder / indices[0]);
  if (files.empty() && indices.empty()) return nullptr;
  if (indices.empty()) {
    std::vector<std::string> shards = complete_shards(folder, files);
    if (!shards.empty()) return open_files(folder, shards);
    if (files.size() == 1) return open_file(folder / files[0]);
  }
  const auto& candidates = indices.empty() ? files : indices;
  fail(ErrorKind::bad_request, "name one of the files instead of the folder",
       "{}: {} {} files and none of them is {}: {}", folder.string(), candidates.size(), family.word,
       family.first_choices[0], some_of(candidates));
}

}  // namespace

std::shared_ptr<const TensorSource> open_weights(const fs::path& folder_or_file) {
  if (!fs::is_directory(folder_or_file)) return open_file(folder_or_file);
  std::vector<std::string> files;
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(folder_or_file, problem)) {
    std::string name = entry.path().filename().string();
    std::error_code ignored;
    if (entry.is_regular_file(ignored) && !is_no_weight_file(name)) files.push_back(name);
  }
  if (problem)
    fail(ErrorKind::bad_request, "check the permissions", "{}: cannot be listed ({})",
         folder_or_file.string(), problem.message());
  std::sort(files.begin(), files.end());
  for (const Family& family : families())
    if (auto source = open_family(folder_or_file, family, files)) return source;
  fail(ErrorKind::not_found,
       "download model.safetensors, or model.safetensors.index.json and the files that it names, into the "
       "folder",
       "{}: no weights (*.safetensors, *.bin, *.pth, *.pt, *.gguf) among its {} files",
       folder_or_file.string(), files.size());
}

}  // namespace vlm
