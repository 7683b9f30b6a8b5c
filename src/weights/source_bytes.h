// Bytes of a weight file and typed views into them: what the readers of all formats share.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tensor/tensor.h"

namespace vlm {

static_assert(std::endian::native == std::endian::little,
              "weight files are read in place, they are little-endian");

struct FileBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // keeps `bytes` alive; tensors hold it
  std::string name;                   // for messages

  static FileBytes map(const std::filesystem::path& path);
  // The caller keeps the bytes alive for as long as any tensor lives.
  static FileBytes borrow(std::span<const std::byte> bytes, std::string name);
};

constexpr const char* kDamagedHint = "the file is damaged or was cut short; get it again";

// Reads little-endian values one after the other; never past the end.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }
  void seek(uint64_t position, const char* what);
  std::span<const std::byte> take(uint64_t count, const char* what);  // throws bad_checkpoint past the end
  std::string_view text(uint64_t count, const char* what);

  template <typename Value>
  Value number(const char* what) {
    Value value;
    std::memcpy(&value, take(sizeof(Value), what).data(), sizeof(Value));
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view name_;
  size_t position_ = 0;
};

// Nothing when a size is negative or the product does not fit.
std::optional<int64_t> element_count(at::IntArrayRef shape);

// Contiguous elements at `data`, shared where the address suits the type and copied where it does not.
// `available` bytes lie there; that they suffice is the caller's promise.
Tensor view_bytes(const std::shared_ptr<const void>& owner, std::span<const std::byte> data,
                  at::IntArrayRef shape, at::ScalarType dtype);

// A name from a file as messages show it: printable, and not longer than a line.
std::string quoted_name(std::string_view name);

}  // namespace vlm
