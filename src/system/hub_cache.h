// The hub's ordinary local cache, as Python users have it: models--ORG--NAME/{refs,snapshots,blobs}.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace vlm {

// $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
std::filesystem::path hub_cache_folder();
// "org/name" -> its cached snapshot of `revision` (a branch, tag or commit); none when it is not there.
std::optional<std::filesystem::path> cached_snapshot(const std::string& hub_id,
                                                     const std::string& revision = "main");
// The hub id of a folder inside a cache, else the folder's own name.
std::string hub_id_of(const std::filesystem::path& folder);
// A checkpoint that another one names by path or hub id: as a path, below or beside `from`, or in the cache.
// Throws not_found with the places looked at.
std::filesystem::path find_reference(const std::string& name, const std::filesystem::path& from);

}  // namespace vlm
