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
  // The file of an open descriptor, which may be closed afterwards; `path` is for messages.
  static std::shared_ptr<const MappedFile> of_descriptor(int descriptor, const std::filesystem::path& path);
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

// For bytes of a MappedFile alone, read once and in order. prefetch_pages() waits until they are in memory;
// drop_pages() takes them out of this process's resident memory, the file's cache keeps them.
void prefetch_pages(std::span<const std::byte> bytes);
void drop_pages(std::span<const std::byte> bytes);

// Writes beside `path` and renames on commit(): a full disk, a crash or an exception leaves the old file or
// none. What a crash leaves is a file whose name has ".part-" in it and whose lock nobody holds.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);  // throws out_of_resources when the disk is full
  void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }
  // For files of a known size, written in any order.
  void reserve(int64_t size_bytes);  // throws out_of_resources when the disk has no room
  void write_at(int64_t offset, std::span<const std::byte> bytes);
  // What was written so far; stays valid behind commit().
  std::shared_ptr<const MappedFile> map() const;
  void flush();  // to the disk
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

void write_text(const std::filesystem::path& path, std::string_view text);

}  // namespace vlm
