// Files: whole reads with a limit, read-only mappings, and writes that leave either the whole file or
// nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace vlm {

// Throws not_found when there is no such file, bad_checkpoint when it is larger than `limit_bytes`.
std::string read_text(const std::filesystem::path& path, int64_t limit_bytes = int64_t{1} << 30);

// A read-only mapping of a whole file; shared by the tensors that point into it.
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Tells the system that these bytes of a mapping will not be read again soon, so that they stop counting as
// resident memory. Harmless for any memory: nothing is lost, at worst it is read from the file again.
void release_pages(const void* data, size_t size);

// Writes beside `path` and renames on commit(): a full disk, a crash or an exception leaves the old file or
// none.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);  // throws out_of_resources when the disk is full
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

void write_text(const std::filesystem::path& path, std::string_view text);

}  // namespace vlm
