// A file of quantised matrices as the kernels read them, to be mapped into memory: what loading made of a
// checkpoint, kept for the next time. Nothing to pass on: another version or another processor makes its own.
//
//   page 0   Header, with a hash of itself
//   pages    the matrices, each from a page's beginning on: blocks, then the scales of its rows
//   end      the index, JSON, with the hash that the header knows
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/hash.h"

namespace vlm {

// One matrix; what the sizes mean is the kernels' matter (kernels/quantised.h).
struct PackedEntry {
  std::string name;  // in the checkpoint
  int64_t bits = 0;
  int64_t out = 0;
  int64_t in = 0;
  int64_t blocks_bytes = 0;
  int64_t row_scales = 0;  // floats
  bool operator==(const PackedEntry&) const = default;
};

struct PackedBytes {
  std::span<const std::byte> blocks;
  const float* row_scales = nullptr;
};

// What a file was made of, for lists of files and for finding those that another one replaces.
struct PackedOrigin {
  std::string checkpoint;  // folder
  std::string precision;   // "int4"
};

class PackedFile {
 public:
  // Null when there is no such file, or when it is not whole, not made for this `key`, or damaged where that
  // is cheap to see: header, index, sizes, and the first and last bytes of every matrix.
  static std::shared_ptr<const PackedFile> open(const std::filesystem::path& path, const ContentHash& key);
  // Of any file with a sound header; nothing is checked behind that.
  static bool read_origin(const std::filesystem::path& path, PackedOrigin& origin);

  const std::vector<PackedEntry>& entries() const { return entries_; }
  PackedBytes bytes(size_t idx) const;
  const std::shared_ptr<const MappedFile>& mapping() const { return mapping_; }

 private:
  friend class PackedFileWriter;
  std::shared_ptr<const MappedFile> mapping_;
  std::vector<PackedEntry> entries_;
  std::vector<int64_t> offsets_;
};

// Writes such a file beside its place, and moves it there when it is whole.
class PackedFileWriter {
 public:
  // Takes the room on the disk at once. Throws out_of_resources when there is too little.
  PackedFileWriter(const std::filesystem::path& path, std::vector<PackedEntry> entries);
  // From one thread at a time.
  void write(size_t idx, std::span<const std::byte> blocks, std::span<const float> row_scales);
  // What was written, before and after commit().
  PackedFile map() const;
  // Waits for the disk: a file that stands in its place is whole whatever happens to the machine.
  void commit(const ContentHash& key, const PackedOrigin& origin);

 private:
  AtomicFile file_;
  std::vector<PackedEntry> entries_;
  std::vector<int64_t> offsets_;
  int64_t index_offset_ = 0;
};

}  // namespace vlm
