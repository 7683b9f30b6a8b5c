#include "base/hash.h"

#include <fmt/format.h>

#include <cstring>

namespace vlm {

namespace {

uint64_t mix(uint64_t left, uint64_t right) {  // folded 128-bit product, the step of wyhash-like functions
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(left) * right;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t load(const std::byte* from, size_t count) {
  uint64_t value = 0;
  std::memcpy(&value, from, count);
  return value;
}

constexpr uint64_t kA = 0x9e3779b97f4a7c15u;  // odd constants without structure
constexpr uint64_t kB = 0xd6e8feb86659fd93u;
constexpr uint64_t kC = 0xa0761d6478bd642fu;

}  // namespace

std::string ContentHash::hex() const {
  return fmt::format("{:016x}{:016x}", high, low);
}

ContentHash hash_bytes(std::span<const std::byte> bytes, const ContentHash& seed) {
  uint64_t first = seed.high ^ kA;
  uint64_t second = seed.low ^ kB;
  const std::byte* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 16; left -= 16, at += 16) {
    uint64_t one = load(at, 8);
    uint64_t two = load(at + 8, 8);
    first = mix(one ^ first, two ^ kC) + second;
    second = mix(two ^ second, one ^ kA) ^ first;
  }
  if (left > 0) {
    uint64_t one = load(at, left < 8 ? left : 8);
    uint64_t two = left > 8 ? load(at + 8, left - 8) : 0;
    first = mix(one ^ first, two ^ kC) + second;
    second = mix(two ^ second, one ^ kA) ^ first;
  }
  uint64_t size = bytes.size();
  return {mix(first ^ size, kB) ^ second, mix(second ^ kC, first + size)};
}

}  // namespace vlm
