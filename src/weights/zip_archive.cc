#include "weights/zip_archive.h"

#include <zlib.h>

#include <algorithm>
#include <vector>

namespace vlm {

namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kDirectoryEntry = 0x02014b50;
constexpr uint32_t kDirectoryEnd = 0x06054b50;
constexpr uint32_t kDirectoryEnd64 = 0x06064b50;
constexpr uint32_t kLocator64 = 0x07064b50;
constexpr size_t kDirectoryEndBytes = 22;
constexpr size_t kLocator64Bytes = 20;
constexpr uint16_t kStored = 0;
constexpr uint16_t kDeflated = 8;
constexpr uint64_t kMaxDeflateRatio = 1100;  // of the deflate format itself: 1032
constexpr uint64_t kMaxEntries = 1'000'000;

[[noreturn]] void fail_zip(const std::string& name, const std::string& what) {
  fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: {}", name, what);
}

uint32_t word_at(std::span<const std::byte> bytes, size_t position) {
  uint32_t word;
  std::memcpy(&word, bytes.data() + position, sizeof word);
  return word;
}

struct Directory {
  uint64_t begin = 0;
  uint64_t bytes = 0;
  uint64_t entries = 0;
};

Directory find_directory(const FileBytes& file) {
  constexpr size_t kLongestComment = 0xffff;
  if (file.bytes.size() < kDirectoryEndBytes) fail_zip(file.name, "too short for a zip archive");
  size_t last = file.bytes.size() - kDirectoryEndBytes;
  size_t end = last;
  while (word_at(file.bytes, end) != kDirectoryEnd) {
    if (end == 0 || last - end >= kLongestComment)
      fail_zip(file.name, "the zip archive has no directory at its end, as when a download was cut short");
    --end;
  }
  ByteReader reader(file.bytes, file.name);
  reader.seek(end + 4, "the zip directory's end");
  auto disk = reader.number<uint16_t>("the zip directory's end");
  auto directory_disk = reader.number<uint16_t>("the zip directory's end");
  reader.number<uint16_t>("the zip directory's end");
  Directory directory;
  directory.entries = reader.number<uint16_t>("the zip directory's end");
  directory.bytes = reader.number<uint32_t>("the zip directory's end");
  directory.begin = reader.number<uint32_t>("the zip directory's end");
  if (end >= kLocator64Bytes && word_at(file.bytes, end - kLocator64Bytes) == kLocator64) {
    reader.seek(end - kLocator64Bytes + 8, "the zip64 locator");
    reader.seek(reader.number<uint64_t>("the zip64 locator"), "the zip64 directory's end");
    if (reader.number<uint32_t>("the zip64 directory's end") != kDirectoryEnd64)
      fail_zip(file.name, "the zip64 locator does not point to the directory's end");
    reader.take(20, "the zip64 directory's end");  // its size, versions, disks
    reader.take(8, "the zip64 directory's end");   // entries on this disk
    directory.entries = reader.number<uint64_t>("the zip64 directory's end");
    directory.bytes = reader.number<uint64_t>("the zip64 directory's end");
    directory.begin = reader.number<uint64_t>("the zip64 directory's end");
  } else if (disk != 0 || directory_disk != 0) {
    fail_zip(file.name, "the zip archive is split over several disks");
  }
  return directory;
}

// The 64-bit values of an entry whose 32-bit fields are full, in the order in which the fields are.
void read_extra64(ByteReader extra, std::vector<uint64_t*> wanted) {
  constexpr uint16_t kZip64 = 1;
  while (extra.remaining() >= 4) {
    auto kind = extra.number<uint16_t>("a zip extra field");
    auto bytes = extra.number<uint16_t>("a zip extra field");
    if (kind != kZip64) {
      extra.take(bytes, "a zip extra field");
      continue;
    }
    for (uint64_t* value : wanted) *value = extra.number<uint64_t>("a zip64 extra field");
    return;
  }
}

}  // namespace

ZipArchive::ZipArchive(FileBytes file) : file_(std::move(file)) {
  Directory directory = find_directory(file_);
  if (directory.entries > kMaxEntries)
    fail_zip(file_.name, fmt::format("{} zip entries, at most {} are read", directory.entries, kMaxEntries));
  ByteReader whole(file_.bytes, file_.name);
  whole.seek(directory.begin, "the zip directory");
  ByteReader reader(whole.take(directory.bytes, "the zip directory"), file_.name);
  for (uint64_t idx = 0; idx < directory.entries; ++idx) read_entry(reader);
}

void ZipArchive::read_entry(ByteReader& directory) {
  constexpr const char* kWhat = "a zip directory entry";
  if (directory.number<uint32_t>(kWhat) != kDirectoryEntry) fail_zip(file_.name, "damaged zip directory");
  directory.take(4, kWhat);  // versions
  auto flags = directory.number<uint16_t>(kWhat);
  auto method = directory.number<uint16_t>(kWhat);
  directory.take(8, kWhat);  // time, checksum
  Entry entry;
  entry.packed_bytes = directory.number<uint32_t>(kWhat);
  entry.bytes = directory.number<uint32_t>(kWhat);
  auto name_bytes = directory.number<uint16_t>(kWhat);
  auto extra_bytes = directory.number<uint16_t>(kWhat);
  auto comment_bytes = directory.number<uint16_t>(kWhat);
  directory.take(8, kWhat);  // disk, attributes
  uint64_t header = directory.number<uint32_t>(kWhat);
  std::string name(directory.text(name_bytes, kWhat));
  ByteReader extra(directory.take(extra_bytes, kWhat), file_.name);
  directory.take(comment_bytes, kWhat);

  constexpr uint64_t kFull = 0xffffffff;
  std::vector<uint64_t*> wide;
  for (uint64_t* value : {&entry.bytes, &entry.packed_bytes, &header})
    if (*value == kFull) wide.push_back(value);
  if (!wide.empty()) read_extra64(extra, std::move(wide));
  if (flags & 1) fail_zip(file_.name, quoted_name(name) + " is encrypted");
  if (method != kStored && method != kDeflated)
    fail(ErrorKind::unsupported, "save the file again with torch.save",
         "{}: {} is packed with zip method {}, known are stored and deflated", file_.name, quoted_name(name),
         method);
  entry.is_deflated = method == kDeflated;
  bool is_plausible = entry.is_deflated ? entry.bytes / kMaxDeflateRatio <= entry.packed_bytes
                                        : entry.bytes == entry.packed_bytes;
  if (!is_plausible)
    fail_zip(file_.name, fmt::format("{} claims {} bytes packed into {}", quoted_name(name), entry.bytes,
                                     entry.packed_bytes));
  entry = locate(name, header, entry);
  if (!entries_.emplace(name, entry).second)
    fail_zip(file_.name, quoted_name(name) + " is twice in the zip directory");
}

ZipArchive::Entry ZipArchive::locate(const std::string& name, uint64_t header, Entry entry) const {
  constexpr const char* kWhat = "a zip entry";
  ByteReader reader(file_.bytes, file_.name);
  reader.seek(header, kWhat);
  if (reader.number<uint32_t>(kWhat) != kLocalHeader)
    fail_zip(file_.name,
             fmt::format("no zip entry at byte {}, where {} should be", header, quoted_name(name)));
  reader.take(22, kWhat);
  auto name_bytes = reader.number<uint16_t>(kWhat);
  auto extra_bytes = reader.number<uint16_t>(kWhat);
  reader.take(size_t{name_bytes} + extra_bytes, kWhat);
  entry.begin = reader.position();
  reader.take(entry.packed_bytes, kWhat);
  return entry;
}

FileBytes ZipArchive::read(const std::string& name) const {
  auto found = entries_.find(name);
  if (found == entries_.end()) fail_zip(file_.name, "no entry " + quoted_name(name) + " in the zip archive");
  const Entry& entry = found->second;
  FileBytes packed{file_.bytes.subspan(entry.begin, entry.packed_bytes), file_.owner,
                   file_.name + ": " + quoted_name(name)};
  if (!entry.is_deflated) return packed;

  auto unpacked = std::make_shared<std::vector<std::byte>>(entry.bytes);
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
    fail(ErrorKind::out_of_resources, "free some memory", "{}: cannot be unpacked", packed.name);
  size_t from = 0;
  size_t to = 0;
  int status = Z_OK;
  constexpr size_t kStep = size_t{1} << 30;  // zlib counts in 32 bits
  std::byte nothing{};
  while (status == Z_OK) {
    size_t in = std::min(kStep, packed.bytes.size() - from);
    size_t out = std::min(kStep, unpacked->size() - to);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.bytes.data() + from));
    stream.avail_in = static_cast<uInt>(in);
    stream.next_out = reinterpret_cast<Bytef*>(unpacked->empty() ? &nothing : unpacked->data() + to);
    stream.avail_out = static_cast<uInt>(out);
    status = inflate(&stream, Z_NO_FLUSH);
    from += in - stream.avail_in;
    to += out - stream.avail_out;
    if (status == Z_OK && stream.avail_in == in && stream.avail_out == out) status = Z_BUF_ERROR;
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || to != unpacked->size())
    fail_zip(packed.name, "cannot be unpacked, it is damaged");
  std::span<const std::byte> bytes(unpacked->data(), unpacked->size());
  return {bytes, std::move(unpacked), packed.name};
}

}  // namespace vlm
