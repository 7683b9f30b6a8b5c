#include "weights/writer.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "base/log.h"
#include "weights/safetensors.h"

namespace vlm {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr size_t kStepBytes = size_t{64} << 20;  // between two reports of progress
constexpr const char* kIndexName = "model.safetensors.index.json";
constexpr const char* kWholeName = "model.safetensors";

int64_t bytes_of(const Tensor& tensor) {
  return tensor.numel() * static_cast<int64_t>(tensor.element_size());
}

int64_t bytes_of(const NamedTensors& tensors) {
  int64_t bytes = 0;
  for (const auto& item : tensors) bytes += bytes_of(item.second);
  return bytes;
}

void check(const NamedTensors& tensors) {
  std::set<std::string> seen;
  for (const auto& [name, tensor] : tensors) {
    if (!seen.insert(name).second || name == "__metadata__")
      fail(ErrorKind::bad_request, "give every tensor a name of its own",
           "the tensor name {} cannot be written {}", quoted_name(name),
           name == "__metadata__" ? "in this format" : "twice");
    if (!tensor.defined() || safetensors_dtype(tensor.scalar_type()).empty())
      fail(ErrorKind::unsupported, "convert it to float32 first", "{}: {} has no place in a safetensors file",
           quoted_name(name), describe(tensor));
  }
}

struct Job {
  int64_t done = 0;
  int64_t total = 0;
};

void write_data(AtomicFile& file, const Tensor& tensor, Job& job) {
  Tensor values = tensor.detach().to(at::kCPU).contiguous();
  std::span<const std::byte> bytes(static_cast<const std::byte*>(values.data_ptr()),
                                   static_cast<size_t>(bytes_of(values)));
  while (!bytes.empty()) {
    auto step = bytes.first(std::min(bytes.size(), kStepBytes));
    file.write(step);
    bytes = bytes.subspan(step.size());
    job.done += static_cast<int64_t>(step.size());
    report_progress(
        {"writing weights", static_cast<double>(job.done), static_cast<double>(job.total), "bytes", ""});
  }
}

void write_file(AtomicFile& file, const NamedTensors& tensors, const FileMetadata& metadata, Job& job) {
  // Wide elements first, then by name, as the reference writer does: so every tensor is aligned.
  NamedTensors order = tensors;
  std::sort(order.begin(), order.end(), [](const auto& left, const auto& right) {
    return std::pair(safetensors_order(left.second.scalar_type()), left.first) <
           std::pair(safetensors_order(right.second.scalar_type()), right.first);
  });
  ordered_json header = ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  int64_t begin = 0;
  for (const auto& [name, tensor] : order) {
    int64_t end = begin + bytes_of(tensor);
    header[name] = {{"dtype", safetensors_dtype(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const ordered_json::exception&) {
    fail(ErrorKind::bad_request, "give the tensors other names",
         "a tensor's name or the metadata are not UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  uint64_t header_bytes = text.size();
  file.write(std::as_bytes(std::span(&header_bytes, 1)));
  file.write(text);
  for (const auto& item : order) write_data(file, item.second, job);
}

std::vector<NamedTensors> split(const NamedTensors& tensors, int64_t max_shard_bytes) {
  std::vector<NamedTensors> shards(1);
  int64_t filled = 0;
  for (const auto& item : tensors) {
    int64_t bytes = bytes_of(item.second);
    if (filled + bytes > max_shard_bytes && !shards.back().empty()) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(item);
    filled += bytes;
  }
  return shards;
}

// Makes files appear only when all of them are complete; takes back what appeared when a later one fails.
class Commit {
 public:
  explicit Commit(fs::path folder) : folder_(std::move(folder)) {}

  AtomicFile& add(const std::string& name) {
    names_.push_back(name);
    files_.push_back(std::make_unique<AtomicFile>(folder_ / name));
    return *files_.back();
  }
  std::vector<std::string> commit() {
    for (size_t idx = 0; idx < files_.size(); ++idx) try {
        files_[idx]->commit();
      } catch (...) {
        std::error_code ignored;
        for (size_t earlier = 0; earlier < idx; ++earlier) fs::remove(folder_ / names_[earlier], ignored);
        throw;
      }
    return names_;
  }

 private:
  fs::path folder_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<AtomicFile>> files_;
};

}  // namespace

void write_safetensors(const fs::path& path, const NamedTensors& tensors, const FileMetadata& metadata) {
  check(tensors);
  AtomicFile file(path);
  Job job{0, bytes_of(tensors)};
  write_file(file, tensors, metadata, job);
  file.commit();
}

std::vector<std::string> write_weights(const fs::path& folder, const NamedTensors& tensors,
                                       const FileMetadata& metadata, int64_t max_shard_bytes) {
  check(tensors);
  std::vector<NamedTensors> shards = split(tensors, max_shard_bytes);
  Job job{0, bytes_of(tensors)};
  Commit files(folder);
  std::error_code ignored;
  if (shards.size() == 1) {
    write_file(files.add(kWholeName), shards[0], metadata, job);
    auto names = files.commit();
    fs::remove(folder / kIndexName, ignored);
    return names;
  }
  ordered_json index = {{"metadata", {{"total_size", job.total}}}, {"weight_map", ordered_json::object()}};
  std::map<std::string, std::string> shard_of;
  for (size_t shard = 0; shard < shards.size(); ++shard) {
    std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, shards.size());
    write_file(files.add(name), shards[shard], metadata, job);
    for (const auto& item : shards[shard]) shard_of[item.first] = name;
  }
  for (const auto& [name, shard] : shard_of) index["weight_map"][name] = shard;
  files.add(kIndexName).write(index.dump(2) + "\n");
  auto names = files.commit();
  fs::remove(folder / kWholeName, ignored);
  return names;
}

}  // namespace vlm
