// The hub: what a repository holds, and its files in the hub's ordinary local cache.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace vlm::cli {

struct HubFile {
  std::string name;  // "model.safetensors", "sub/folder/x.json"
  std::string etag;  // names its blob: the SHA-256 of large files, git's blob id of small ones
  bool is_sha256 = false;
  int64_t size_bytes = 0;
};

struct HubRepository {
  std::string hub_id;
  std::string commit;
  std::vector<HubFile> files;
};

struct Hub {
  std::string endpoint;  // $HF_ENDPOINT or https://huggingface.co
  std::string token;     // $HF_TOKEN, else the file where the hub's own tools keep it

  static Hub from_environment();
  // Throws not_found, bad_request (no access, strange names).
  HubRepository list(const std::string& hub_id, const std::string& revision) const;
};

// The answer of the hub's API. Names that would leave the snapshot's folder are refused.
HubRepository parse_repository(const std::string& hub_id, const std::string& json);

// Without `include`: what a program like this needs, so not the same weights in other formats.
std::vector<HubFile> choose_files(const std::vector<HubFile>& files, const std::vector<std::string>& include,
                                  const std::vector<std::string>& exclude);

// Fetches one file into the cache (blobs/, linked from snapshots/), going on where an earlier attempt
// stopped, and checks its sum. `on_bytes` is told how many more bytes are there; negative when a part had to
// be dropped.
void fetch_file(const Hub& hub, const HubRepository& repository, const HubFile& file,
                const std::function<void(int64_t)>& on_bytes);

std::filesystem::path repository_folder(const std::string& hub_id);
std::filesystem::path snapshot_folder(const HubRepository& repository);

}  // namespace vlm::cli
