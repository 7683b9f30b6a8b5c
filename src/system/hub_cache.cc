#include "system/hub_cache.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace vlm {

namespace fs = std::filesystem;

namespace {

constexpr char kPrefix[] = "models--";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

fs::path hub_cache_folder() {
  if (std::string folder = environment("HF_HUB_CACHE"); !folder.empty()) return folder;
  if (std::string folder = environment("HF_HOME"); !folder.empty()) return fs::path(folder) / "hub";
  if (std::string folder = environment("XDG_CACHE_HOME"); !folder.empty())
    return fs::path(folder) / "huggingface" / "hub";
  return fs::path(environment("HOME")) / ".cache" / "huggingface" / "hub";
}

std::optional<fs::path> cached_snapshot(const std::string& hub_id, const std::string& revision) {
  if (std::count(hub_id.begin(), hub_id.end(), '/') != 1 || hub_id.find("..") != std::string::npos ||
      revision.find("..") != std::string::npos)
    return std::nullopt;
  std::string name = hub_id;
  name.replace(name.find('/'), 1, "--");
  fs::path repository = hub_cache_folder() / (kPrefix + name);
  fs::path reference = repository / "refs" / revision;
  std::string commit = revision;
  if (fs::is_regular_file(reference)) {
    commit = read_text(reference, 1024);
    commit.erase(std::remove_if(commit.begin(), commit.end(),
                                [](char letter) { return letter == '\n' || letter == '\r'; }),
                 commit.end());
  }
  fs::path snapshot = repository / "snapshots" / commit;
  if (commit.find('/') == std::string::npos && fs::is_directory(snapshot)) return snapshot;
  return std::nullopt;
}

std::string hub_id_of(const fs::path& folder) {
  fs::path absolute = fs::weakly_canonical(folder);
  for (const fs::path& part : absolute) {
    std::string name = part.string();
    if (!name.starts_with(kPrefix)) continue;
    name = name.substr(sizeof kPrefix - 1);
    if (size_t split = name.find("--"); split != std::string::npos) return name.replace(split, 2, "/");
  }
  fs::path last = absolute.filename();
  return last.empty() ? absolute.parent_path().filename().string() : last.string();
}

fs::path find_reference(const std::string& name, const fs::path& from) {
  fs::path last = fs::path(name).filename();
  std::vector<fs::path> places{from / name, from / last, from / ".." / name, from / ".." / last};
  if (fs::path(name).is_absolute()) places.insert(places.begin(), name);
  for (const fs::path& place : places)
    if (fs::exists(place / "config.json")) return place;
  if (auto snapshot = cached_snapshot(name)) return *snapshot;
  fail(ErrorKind::not_found, "get it with: vlm pull " + name + " (or put its folder beside the checkpoint's)",
       "{} is needed and was not found in {}, beside it, or in the cache {}", name, from.string(),
       hub_cache_folder().string());
}

}  // namespace vlm
