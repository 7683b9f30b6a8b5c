#include "app/cli/commands/hub.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "app/cli/commands/transfer.h"
#include "app/cli/terminal.h"
#include "base/files.h"
#include "base/json.h"
#include "system/hub_cache.h"
#include "weights/weights.h"

namespace vlm::cli {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kLargestList_bytes = int64_t{64} << 20;
constexpr int64_t kLargestFile_bytes = int64_t{1} << 42;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool is_word(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char letter) {
    return std::isalnum(letter) || letter == '.' || letter == '_' || letter == '-';
  });
}

bool stays_inside(const std::string& name) {
  if (name.empty() || name.front() == '/' || name.size() > 1000) return false;
  for (unsigned char letter : name)
    if (letter < 0x20 || letter == '\\') return false;
  for (const fs::path& part : fs::path(name))
    if (part == ".." || part == "." || part.empty()) return false;
  return true;
}

bool matches_any(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return glob_matches(pattern, name); });
}

class Digest {
 public:
  explicit Digest(const HubFile& file) : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    EVP_DigestInit_ex(context_.get(), file.is_sha256 ? EVP_sha256() : EVP_sha1(), nullptr);
    // Git's id of a file is the sum of this line and the content.
    if (!file.is_sha256) add(fmt::format("blob {}", file.size_bytes) + '\0');
  }
  void add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string hex() {
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    EVP_DigestFinal_ex(context_.get(), sum, &length);
    std::string text;
    for (unsigned idx = 0; idx < length; ++idx) text += fmt::format("{:02x}", sum[idx]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

// A blob that is being fetched: blobs/<etag>.incomplete, as the hub's own tools call it.
class PartialFile {
 public:
  PartialFile(fs::path path, const HubFile& file) : path_(std::move(path)), file_(file), digest_(file) {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor_ < 0)
      fail(ErrorKind::bad_request, "choose another cache folder with HF_HOME", "{}: cannot be written ({})",
           path_.string(), std::strerror(errno));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      ::close(descriptor_);
      fail(ErrorKind::bad_request, "wait for it", "{}: another process is fetching it", file_.name);
    }
    char block[1 << 16];
    for (ssize_t count; (count = ::read(descriptor_, block, sizeof block)) > 0;) {
      digest_.add({block, static_cast<size_t>(count)});
      size_bytes_ += count;
    }
    if (size_bytes_ > file_.size_bytes) clear();
  }
  ~PartialFile() { ::close(descriptor_); }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  int64_t size_bytes() const { return size_bytes_; }

  void clear() {
    size_bytes_ = 0;
    digest_ = Digest(file_);
    if (::ftruncate(descriptor_, 0) != 0 || ::lseek(descriptor_, 0, SEEK_SET) != 0)
      fail(ErrorKind::out_of_resources, "check the disk", "{}: cannot be emptied", path_.string());
  }

  void append(std::string_view bytes) {
    if (!write_all(descriptor_, bytes))
      fail(ErrorKind::out_of_resources, "free some space, then run the command again to go on",
           "{}: cannot be written ({})", path_.string(), std::strerror(errno));
    digest_.add(bytes);
    size_bytes_ += static_cast<int64_t>(bytes.size());
  }

  // Empties the file when its sum is wrong, so that the next attempt starts anew.
  void finish(const fs::path& blob) {
    std::string sum = digest_.hex();
    if (size_bytes_ != file_.size_bytes || sum != file_.etag) {
      int64_t size = size_bytes_;
      clear();
      fail(ErrorKind::bad_checkpoint,
           "run the command again; if it stays so, the server or a proxy alters files",
           "{}: {} bytes with the sum {}, expected {} bytes with {}", file_.name, size, sum, file_.size_bytes,
           file_.etag);
    }
    if (::fsync(descriptor_) != 0 || ::rename(path_.c_str(), blob.c_str()) != 0)
      fail(ErrorKind::out_of_resources, "check the disk", "{}: cannot be written ({})", blob.string(),
           std::strerror(errno));
  }

 private:
  fs::path path_;
  const HubFile& file_;
  Digest digest_;
  int descriptor_ = -1;
  int64_t size_bytes_ = 0;
};

void link_blob(const fs::path& blob, const fs::path& place) {
  fs::create_directories(place.parent_path());
  fs::path target = fs::relative(blob, place.parent_path());
  std::error_code error;
  if (fs::read_symlink(place, error) == target && !error) return;
  fs::remove(place, error);
  fs::create_symlink(target, place);
}

}  // namespace

Hub Hub::from_environment() {
  Hub hub;
  hub.endpoint = environment("HF_ENDPOINT");
  if (hub.endpoint.empty()) hub.endpoint = "https://huggingface.co";
  while (hub.endpoint.ends_with("/")) hub.endpoint.pop_back();
  hub.token = environment("HF_TOKEN");
  if (hub.token.empty()) {
    fs::path file = environment("HF_TOKEN_PATH");
    if (file.empty()) file = hub_cache_folder().parent_path() / "token";
    std::error_code ignored;
    if (fs::is_regular_file(file, ignored)) hub.token = read_text(file, 4096);
    while (!hub.token.empty() && std::isspace(static_cast<unsigned char>(hub.token.back())))
      hub.token.pop_back();
  }
  return hub;
}

HubRepository Hub::list(const std::string& hub_id, const std::string& revision) const {
  size_t slash = hub_id.find('/');
  if (slash == std::string::npos || !is_word(hub_id.substr(0, slash)) || !is_word(hub_id.substr(slash + 1)) ||
      hub_id.find("..") != std::string::npos)
    fail(ErrorKind::bad_request, "give organisation/name, as in llava-hf/llava-1.5-7b-hf",
         "\"{}\" is no hub id", hub_id);
  if (revision.find("..") != std::string::npos || !stays_inside(revision))
    fail(ErrorKind::bad_request, "give a branch, tag or commit", "\"{}\" is no revision", revision);
  std::string escaped = escaped_path(revision);
  for (size_t at = escaped.find('/'); at != std::string::npos; at = escaped.find('/'))
    escaped.replace(at, 1, "%2F");
  std::string address = endpoint + "/api/models/" + hub_id + "/revision/" + escaped + "?blobs=true";
  std::string json = fetch_text(address, {.limit_bytes = kLargestList_bytes, .token = token});
  return parse_repository(hub_id, json);
}

HubRepository parse_repository(const std::string& hub_id, const std::string& text) {
  Json json = Json::parse(text, "the hub's answer");
  HubRepository repository{hub_id, json.at("sha").as<std::string>(), {}};
  Json siblings = json.at("siblings");
  auto strange = [&](const std::string& what) {
    fail(ErrorKind::bad_request, "check HF_ENDPOINT", "the hub's answer about {} names {}", hub_id, what);
  };
  if (!is_word(repository.commit)) strange("the commit \"" + repository.commit + "\"");
  for (int64_t idx = 0; idx < siblings.size(); ++idx) {
    Json entry = siblings[idx];
    HubFile file;
    file.name = entry.at("rfilename").as<std::string>();
    if (!stays_inside(file.name)) strange("the file \"" + file.name + "\"");
    Json large = entry.find("lfs");
    file.is_sha256 = !large.is_null();
    file.etag = (file.is_sha256 ? large.at("sha256") : entry.at("blobId")).as<std::string>();
    file.size_bytes = (file.is_sha256 ? large : entry).integer("size", 0, kLargestFile_bytes);
    if (!is_word(file.etag) || file.etag.size() != (file.is_sha256 ? 64u : 40u))
      strange("the sum \"" + file.etag + "\"");
    repository.files.push_back(std::move(file));
  }
  return repository;
}

std::vector<HubFile> choose_files(const std::vector<HubFile>& files, const std::vector<std::string>& include,
                                  const std::vector<std::string>& exclude) {
  auto ends = [](const std::string& name, const std::vector<std::string>& endings) {
    return std::any_of(endings.begin(), endings.end(),
                       [&](const std::string& ending) { return name.ends_with(ending); });
  };
  const std::vector<std::string> foreign{".h5",        ".msgpack", ".ot",     ".onnx",
                                         ".onnx_data", ".tflite",  ".mlmodel"};
  const std::vector<std::string> pytorch{".bin", ".pth", ".pt", ".ckpt", ".bin.index.json"};
  bool has_safetensors = std::any_of(files.begin(), files.end(), [](const HubFile& file) {
    return file.name.ends_with(".safetensors") && file.name.find('/') == std::string::npos;
  });
  std::vector<HubFile> chosen;
  for (const HubFile& file : files) {
    if (matches_any(exclude, file.name)) continue;
    if (include.empty()) {
      if (ends(file.name, foreign) || file.name.starts_with(".git")) continue;
      if (has_safetensors && ends(file.name, pytorch)) continue;
    } else if (!matches_any(include, file.name)) {
      continue;
    }
    chosen.push_back(file);
  }
  return chosen;
}

fs::path repository_folder(const std::string& hub_id) {
  std::string name = hub_id;
  name.replace(name.find('/'), 1, "--");
  return hub_cache_folder() / ("models--" + name);
}

fs::path snapshot_folder(const HubRepository& repository) {
  return repository_folder(repository.hub_id) / "snapshots" / repository.commit;
}

void fetch_file(const Hub& hub, const HubRepository& repository, const HubFile& file,
                const std::function<void(int64_t)>& on_bytes) {
  fs::path folder = repository_folder(repository.hub_id);
  fs::path blob = folder / "blobs" / file.etag;
  fs::create_directories(blob.parent_path());
  if (fs::exists(blob) && static_cast<int64_t>(fs::file_size(blob)) == file.size_bytes) {
    on_bytes(file.size_bytes);
  } else {
    fs::path partial = blob;
    partial += ".incomplete";
    PartialFile part(partial, file);
    on_bytes(part.size_bytes());
    if (part.size_bytes() < file.size_bytes) {
      TransferOptions options{.limit_bytes = file.size_bytes,
                              .token = hub.token,
                              .begin_bytes = part.size_bytes(),
                              .on_whole = [&] {
                                on_bytes(-part.size_bytes());
                                part.clear();
                              }};
      transfer(hub.endpoint + "/" + repository.hub_id + "/resolve/" + repository.commit + "/" +
                   escaped_path(file.name),
               options, [&](std::string_view bytes) {
                 part.append(bytes);
                 on_bytes(static_cast<int64_t>(bytes.size()));
                 return true;
               });
    }
    int64_t size = part.size_bytes();
    try {
      part.finish(blob);
    } catch (...) {
      on_bytes(-size);
      throw;
    }
  }
  link_blob(blob, snapshot_folder(repository) / file.name);
}

}  // namespace vlm::cli
