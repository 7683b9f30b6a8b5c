#include "engine/quantised_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/log.h"

namespace vlm {

namespace fs = std::filesystem;

namespace {

constexpr char kEnding[] = ".packed";
constexpr char kPartial[] = ".part-";

// What is read of a file to tell it from another one: both ends, where the formats keep their tables, and a
// page of every 16 MB, so that each large matrix is looked at.
constexpr int64_t kEnd_bytes = int64_t{1} << 20;
constexpr int64_t kStride_bytes = int64_t{16} << 20;
constexpr int64_t kSample_bytes = 4096;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

ContentHash hash_text(const std::string& text, const ContentHash& seed) {
  return hash_bytes(std::as_bytes(std::span(text)), seed);
}

// The hub's cache names a file by the SHA-256 of its content.
bool is_hub_blob(const fs::path& file) {
  std::string name = file.filename().string();
  return file.parent_path().filename() == "blobs" && name.size() == 64 &&
         name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

class OpenFile {
 public:
  explicit OpenFile(const fs::path& path) : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~OpenFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor() const { return descriptor_; }
  ContentHash hash(int64_t offset, int64_t count, const ContentHash& seed) const {
    std::vector<std::byte> bytes(static_cast<size_t>(count));
    ssize_t found = ::pread(descriptor_, bytes.data(), bytes.size(), offset);
    return hash_bytes(std::span(bytes).first(static_cast<size_t>(std::max<ssize_t>(found, 0))), seed);
  }

 private:
  int descriptor_;
};

ContentHash hash_file(const fs::path& path, const ContentHash& seed) {
  std::error_code ignored;
  fs::path file = fs::canonical(path, ignored);
  OpenFile opened(file);
  struct stat status {};
  ::fstat(opened.descriptor(), &status);
  int64_t size = status.st_size;
  if (is_hub_blob(file)) return hash_text(fmt::format("blob {} {}", file.filename().string(), size), seed);
  ContentHash hash =
      hash_text(fmt::format("file {} {}.{:09}", size, static_cast<int64_t>(status.st_mtim.tv_sec),
                            status.st_mtim.tv_nsec),
                seed);
  ::posix_fadvise(opened.descriptor(), 0, 0, POSIX_FADV_RANDOM);
  hash = opened.hash(0, std::min(size, kEnd_bytes), hash);
  for (int64_t offset = kStride_bytes; offset < size; offset += kStride_bytes)
    hash = opened.hash(offset, std::min(size - offset, kSample_bytes), hash);
  return opened.hash(std::max<int64_t>(0, size - kEnd_bytes), std::min(size, kEnd_bytes), hash);
}

// A partial file that nobody holds a lock on belongs to a process that is no more.
bool is_abandoned(const fs::path& file) {
  OpenFile opened(file);
  return opened.descriptor() >= 0 && ::flock(opened.descriptor(), LOCK_EX | LOCK_NB) == 0;
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.is_regular_file(ignored)) files.push_back(entry.path());
  return files;
}

bool is_partial(const fs::path& file) {
  return file.filename().string().find(kPartial) != std::string::npos;
}

void remove_replaced(const fs::path& folder, const PackedOrigin& origin) {
  std::error_code ignored;
  for (const fs::path& file : files_in(folder)) {
    if (is_partial(file)) {
      if (is_abandoned(file)) fs::remove(file, ignored);
      continue;
    }
    PackedOrigin found;
    bool is_replaced = file.extension() == kEnding && PackedFile::read_origin(file, found) &&
                       found.checkpoint == origin.checkpoint && found.precision == origin.precision;
    if (is_replaced && fs::remove(file, ignored))
      log(LogLevel::debug, "{}: made from other files or by another version, removed", file.string());
  }
}

}  // namespace

fs::path quantised_cache_folder() {
  std::string root = environment("VLM_CACHE");
  if (root == "off") return {};
  if (!root.empty()) return fs::path(root) / "quantised";
  if (std::string folder = environment("XDG_CACHE_HOME"); !folder.empty())
    return fs::path(folder) / "vlm" / "quantised";
  if (std::string home = environment("HOME"); !home.empty())
    return fs::path(home) / ".cache" / "vlm" / "quantised";
  return {};
}

PackedPlace place_in_cache(const Checkpoint& checkpoint, Precision precision, int64_t smallest_bytes) {
  fs::path folder = quantised_cache_folder();
  bool is_quantised = precision == Precision::int8 || precision == Precision::int4;
  std::vector<fs::path> files = checkpoint.source->files();
  if (!is_quantised || folder.empty() || files.empty()) return {};
  std::error_code problem;
  int64_t bytes = 0;
  for (const fs::path& file : files) bytes += static_cast<int64_t>(fs::file_size(file, problem));
  if (problem || bytes < smallest_bytes) return {};
  fs::create_directories(folder, problem);
  if (problem) {
    log(LogLevel::debug, "{}: cannot be made ({})", folder.string(), problem.message());
    return {};
  }
  const char* word = precision_name(precision);
  ContentHash key = hash_text(word, {});
  for (const fs::path& file : files) key = hash_file(file, key);
  PackedPlace place;
  place.file = folder / fmt::format("{}-{}{}", word, key.hex(), kEnding);  // a moved folder finds it
  place.key = key;
  place.origin = {fs::weakly_canonical(checkpoint.folder, problem).string(), word};
  if (!fs::exists(place.file, problem)) remove_replaced(folder, place.origin);
  return place;
}

std::vector<KeptModel> kept_models() {
  std::vector<KeptModel> models;
  std::error_code ignored;
  for (const fs::path& file : files_in(quantised_cache_folder())) {
    bool is_kept = file.extension() == kEnding;
    if (!is_kept && !is_partial(file)) continue;
    KeptModel model{file, is_kept ? "(damaged)" : "(being written)", "",
                    static_cast<int64_t>(fs::file_size(file, ignored))};
    PackedOrigin origin;
    if (is_kept && PackedFile::read_origin(file, origin)) {
      model.checkpoint = origin.checkpoint;
      model.precision = origin.precision;
    }
    models.push_back(std::move(model));
  }
  std::sort(models.begin(), models.end(),
            [](const KeptModel& left, const KeptModel& right) { return left.bytes > right.bytes; });
  return models;
}

int64_t clear_kept_models() {
  int64_t freed = 0;
  std::error_code ignored;
  for (const KeptModel& model : kept_models()) {
    if (is_partial(model.file) && !is_abandoned(model.file)) continue;  // another process is at it
    if (fs::remove(model.file, ignored)) freed += model.bytes;
  }
  return freed;
}

}  // namespace vlm
