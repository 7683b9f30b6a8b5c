// A 128-bit content hash for caches (not for security).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace vlm {

struct ContentHash {
  uint64_t high = 0;
  uint64_t low = 0;
  auto operator<=>(const ContentHash&) const = default;
  std::string hex() const;
};

ContentHash hash_bytes(std::span<const std::byte> bytes, const ContentHash& seed = {});

}  // namespace vlm
