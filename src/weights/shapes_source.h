#pragma once

#include "base/json.h"
#include "weights/source.h"

namespace vlm {

// The whole manifest (manifests/README.md), gzip-compressed or plain.
Json read_manifest(const std::filesystem::path& path);

}  // namespace vlm
