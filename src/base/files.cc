#include "base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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
  struct stat status {};
  if (::fstat(file.value, &status) != 0) fail_open(path);
  if (!S_ISREG(status.st_mode))
    fail(ErrorKind::bad_request, "name a file", "{} is not a regular file", path.string());
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  mapped->path_ = path;
  mapped->size_ = static_cast<size_t>(status.st_size);
  if (mapped->size_ == 0) return mapped;
  void* address = ::mmap(nullptr, mapped->size_, PROT_READ, MAP_PRIVATE, file.value, 0);
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

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  temporary_ = path_;
  temporary_ += fmt::format(".part-{}", ::getpid());
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0)
    fail(ErrorKind::bad_request, "choose a folder that exists and can be written",
         "{}: cannot be written ({})", path_.string(), std::strerror(errno));
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
    if (count < 0)
      fail(ErrorKind::out_of_resources, "free some space or choose another folder; nothing was left behind",
           "{}: cannot be written ({})", path_.string(), std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
}

void AtomicFile::commit() {
  bool flushed = ::fsync(descriptor_) == 0;
  bool closed = ::close(descriptor_) == 0;
  descriptor_ = -1;
  if (flushed && closed && ::rename(temporary_.c_str(), path_.c_str()) == 0) return;
  int reason = errno;
  ::unlink(temporary_.c_str());
  fail(ErrorKind::out_of_resources, "free some space or choose another folder; nothing was left behind",
       "{}: cannot be written ({})", path_.string(), std::strerror(reason));
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace vlm
