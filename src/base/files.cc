#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace vlm {

namespace {

[[noreturn]] void fail_open(const std::filesystem::path& path) {
  if (errno == ENOENT || errno == ENOTDIR)
    fail(ErrorKind::not_found, "look at the path; relative paths start at the current folder",
         "{}: no such file", path.string());
  fail(ErrorKind::bad_request, "check the permissions", "{}: cannot be opened ({})", path.string(),
       std::strerror(errno));
}

[[noreturn]] void fail_write(const std::filesystem::path& path) {
  fail(ErrorKind::out_of_resources, "free some space or choose another folder; nothing was left behind",
       "{}: cannot be written ({})", path.string(), std::strerror(errno));
}

struct Descriptor {
  int value;
  explicit Descriptor(const std::filesystem::path& path) : value(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (value < 0) fail_open(path);
  }
  ~Descriptor() { ::close(value); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

}  // namespace

std::string read_text(const std::filesystem::path& path, int64_t limit_bytes) {
  Descriptor file(path);
  struct stat status {};
  if (::fstat(file.value, &status) != 0) fail_open(path);
  if (S_ISDIR(status.st_mode))
    fail(ErrorKind::bad_request, "name a file in it", "{} is a folder, a file was expected", path.string());
  if (S_ISREG(status.st_mode) && status.st_size > limit_bytes)
    fail(ErrorKind::bad_checkpoint, "this is not the file it claims to be",
         "{}: {} bytes, at most {} are read", path.string(), static_cast<int64_t>(status.st_size),
         limit_bytes);
  std::string text;
  char block[1 << 16];
  for (;;) {
    ssize_t count = ::read(file.value, block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      fail(ErrorKind::bad_request, "check the disk", "{}: cannot be read ({})", path.string(),
           std::strerror(errno));
    if (count == 0) return text;
    text.append(block, static_cast<size_t>(count));
    if (static_cast<int64_t>(text.size()) > limit_bytes)
      fail(ErrorKind::bad_checkpoint, "this is not the file it claims to be", "{}: more than {} bytes",
           path.string(), limit_bytes);
  }
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  Descriptor file(path);
  return of_descriptor(file.value, path);
}

std::shared_ptr<const MappedFile> MappedFile::of_descriptor(int descriptor,
                                                            const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail_open(path);
  if (!S_ISREG(status.st_mode))
    fail(ErrorKind::bad_request, "name a file", "{} is not a regular file", path.string());
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  mapped->path_ = path;
  mapped->size_ = static_cast<size_t>(status.st_size);
  if (mapped->size_ == 0) return mapped;
  void* address = ::mmap(nullptr, mapped->size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (address == MAP_FAILED)
    fail(ErrorKind::out_of_resources, "free address space or memory", "{}: cannot be mapped ({})",
         path.string(), std::strerror(errno));
  mapped->data_ = static_cast<const std::byte*>(address);
  return mapped;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

void release_pages(const void* data, size_t size) {
#ifdef MADV_PAGEOUT
  uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  uintptr_t first = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  uintptr_t last = (reinterpret_cast<uintptr_t>(data) + size) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_PAGEOUT);
#else
  (void)data, (void)size;
#endif
}

namespace {

// Whole pages inside the bytes, and `outside` the pages around them. False: the system does not know how.
bool advise(std::span<const std::byte> bytes, int advice, bool outside) {
  uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  uintptr_t begin = reinterpret_cast<uintptr_t>(bytes.data()), end = begin + bytes.size();
  begin = (begin + (outside ? 0 : page - 1)) / page * page;
  end = (end + (outside ? page - 1 : 0)) / page * page;
  return begin >= end || ::madvise(reinterpret_cast<void*>(begin), end - begin, advice) == 0;
}

}  // namespace

void prefetch_pages(std::span<const std::byte> bytes) {
#ifdef MADV_POPULATE_READ
  if (advise(bytes, MADV_POPULATE_READ, /*outside=*/true)) return;
#endif
  advise(bytes, MADV_WILLNEED, /*outside=*/true);
}

void drop_pages(std::span<const std::byte> bytes) {
  advise(bytes, MADV_DONTNEED, /*outside=*/false);
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  static std::atomic<int64_t> count{0};  // threads of one process may write the same file
  temporary_ = path_;
  temporary_ += fmt::format(".part-{}-{}", ::getpid(), ++count);
  descriptor_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0)
    fail(ErrorKind::bad_request, "choose a folder that exists and can be written",
         "{}: cannot be written ({})", path_.string(), std::strerror(errno));
  ::flock(descriptor_, LOCK_EX | LOCK_NB);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_write(path_);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

void AtomicFile::reserve(int64_t size_bytes) {
  if (int reason = ::posix_fallocate(descriptor_, 0, size_bytes); reason != 0)
    fail(ErrorKind::out_of_resources, "free some space or choose another folder; nothing was left behind",
         "{}: no room for {} bytes ({})", path_.string(), size_bytes, std::strerror(reason));
}

void AtomicFile::write_at(int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_write(path_);
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += count;
  }
}

std::shared_ptr<const MappedFile> AtomicFile::map() const {
  return MappedFile::of_descriptor(descriptor_, path_);
}

void AtomicFile::flush() {
  if (::fsync(descriptor_) != 0) fail_write(path_);
}

void AtomicFile::commit() {
  bool flushed = ::fsync(descriptor_) == 0;
  bool closed = ::close(descriptor_) == 0;
  descriptor_ = -1;
  if (flushed && closed && ::rename(temporary_.c_str(), path_.c_str()) == 0) return;
  int reason = errno;
  ::unlink(temporary_.c_str());
  errno = reason;
  fail_write(path_);
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace vlm
