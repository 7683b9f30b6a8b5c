#include "weights/packed_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace vlm {

namespace {

using nlohmann::json;

constexpr std::array<char, 8> kMagic{'v', 'l', 'm', 'p', 'a', 'c', 'k', 'e'};
constexpr int64_t kVersion = 1;  // of this file's own structure
constexpr int64_t kPage_bytes = 4096;
constexpr int64_t kMostIndex_bytes = 100'000'000;
constexpr size_t kProbe_bytes = 4096;
constexpr uintmax_t kLeftFree_bytes = uintmax_t{1} << 30;

struct Header {
  std::array<char, 8> magic = kMagic;
  int64_t version = kVersion;
  ContentHash key;
  int64_t file_bytes = 0;
  int64_t index_offset = 0;
  int64_t index_bytes = 0;
  ContentHash index_hash;
  ContentHash own_hash;  // of everything before it
  ContentHash hash() const {
    return hash_bytes(std::as_bytes(std::span(this, 1)).first(offsetof(Header, own_hash)));
  }
};

int64_t to_page(int64_t offset) {
  return (offset + kPage_bytes - 1) / kPage_bytes * kPage_bytes;
}

int64_t scales_offset(const PackedEntry& entry) {
  return (entry.blocks_bytes + 63) / 64 * 64;
}

int64_t size_of(const PackedEntry& entry) {
  return scales_offset(entry) + entry.row_scales * static_cast<int64_t>(sizeof(float));
}

// The first and the last bytes: a part that never reached the disk reads as zeros.
ContentHash probe_of(std::span<const std::byte> bytes) {
  ContentHash first = hash_bytes(bytes.first(std::min(bytes.size(), kProbe_bytes)));
  return hash_bytes(bytes.last(std::min(bytes.size(), kProbe_bytes)), first);
}

bool read_header(std::span<const std::byte> file, Header& header) {
  if (file.size() < sizeof header) return false;
  std::memcpy(&header, file.data(), sizeof header);
  int64_t size = static_cast<int64_t>(file.size());
  return header.magic == kMagic && header.version == kVersion && header.own_hash == header.hash() &&
         header.file_bytes == size && header.index_offset >= kPage_bytes && header.index_bytes >= 0 &&
         header.index_bytes <= kMostIndex_bytes && header.index_offset <= size - header.index_bytes;
}

// Null when it is not what the header says.
json read_index(std::span<const std::byte> file, const Header& header) {
  auto text = file.subspan(static_cast<size_t>(header.index_offset), static_cast<size_t>(header.index_bytes));
  if (hash_bytes(text) != header.index_hash) return nullptr;
  return json::parse(reinterpret_cast<const char*>(text.data()),
                     reinterpret_cast<const char*>(text.data() + text.size()), nullptr,
                     /*allow_exceptions=*/false);
}

std::shared_ptr<const MappedFile> map_if_there(const std::filesystem::path& path) {
  try {
    return MappedFile::open(path);
  } catch (const Error&) {  // none, or one that cannot be read: it is made anew
    return nullptr;
  }
}

}  // namespace

std::shared_ptr<const PackedFile> PackedFile::open(const std::filesystem::path& path,
                                                   const ContentHash& key) {
  auto found = std::make_shared<PackedFile>();
  found->mapping_ = map_if_there(path);
  Header header;
  if (!found->mapping_ || !read_header(found->mapping_->bytes(), header) || header.key != key) return nullptr;
  json index = read_index(found->mapping_->bytes(), header);
  try {
    for (const json& item : index.at("matrices")) {
      PackedEntry entry{item.at("name"), item.at("bits"),         item.at("out"),
                        item.at("in"),   item.at("blocks_bytes"), item.at("row_scales")};
      int64_t offset = item.at("offset");
      bool is_inside = entry.blocks_bytes >= 0 && entry.row_scales >= 0 && offset >= kPage_bytes &&
                       offset % kPage_bytes == 0 && entry.blocks_bytes <= header.index_offset &&
                       entry.row_scales <= header.index_offset &&
                       size_of(entry) <= header.index_offset - offset;
      if (!is_inside) return nullptr;
      auto bytes =
          found->mapping_->bytes().subspan(static_cast<size_t>(offset), static_cast<size_t>(size_of(entry)));
      if (probe_of(bytes).hex() != item.at("probe")) return nullptr;
      found->entries_.push_back(std::move(entry));
      found->offsets_.push_back(offset);
    }
  } catch (const json::exception&) {
    return nullptr;
  }
  return found;
}

bool PackedFile::read_origin(const std::filesystem::path& path, PackedOrigin& origin) {
  auto mapping = map_if_there(path);
  Header header;
  if (!mapping || !read_header(mapping->bytes(), header)) return false;
  json index = read_index(mapping->bytes(), header);
  if (!index.is_object()) return false;
  origin = {index.value("checkpoint", ""), index.value("precision", "")};
  return true;
}

PackedBytes PackedFile::bytes(size_t idx) const {
  const PackedEntry& entry = entries_[idx];
  auto all = mapping_->bytes().subspan(static_cast<size_t>(offsets_[idx]));
  return {all.first(static_cast<size_t>(entry.blocks_bytes)),
          reinterpret_cast<const float*>(all.data() + scales_offset(entry))};
}

PackedFileWriter::PackedFileWriter(const std::filesystem::path& path, std::vector<PackedEntry> entries)
    : file_(path), entries_(std::move(entries)), index_offset_(kPage_bytes) {
  for (const PackedEntry& entry : entries_) {
    offsets_.push_back(index_offset_);
    index_offset_ = to_page(index_offset_ + size_of(entry));
  }
  // The last gigabyte of a disk is worth more than a faster start.
  std::error_code problem;
  std::filesystem::space_info space = std::filesystem::space(path.parent_path(), problem);
  if (!problem && space.available < static_cast<uintmax_t>(index_offset_) + kLeftFree_bytes)
    fail(ErrorKind::out_of_resources, "free some space, or set VLM_CACHE to a folder on another disk",
         "{}: {} bytes are free, {} are needed", path.parent_path().string(), space.available, index_offset_);
  file_.reserve(index_offset_);
}

void PackedFileWriter::write(size_t idx, std::span<const std::byte> blocks,
                             std::span<const float> row_scales) {
  const PackedEntry& entry = entries_[idx];
  VLM_CHECK(static_cast<int64_t>(blocks.size()) == entry.blocks_bytes &&
                static_cast<int64_t>(row_scales.size()) == entry.row_scales,
            "{}: {} bytes, {} scales", entry.name, blocks.size(), row_scales.size());
  file_.write_at(offsets_[idx], blocks);
  file_.write_at(offsets_[idx] + scales_offset(entry), std::as_bytes(row_scales));
}

PackedFile PackedFileWriter::map() const {
  PackedFile file;
  file.mapping_ = file_.map();
  file.entries_ = entries_;
  file.offsets_ = offsets_;
  return file;
}

void PackedFileWriter::commit(const ContentHash& key, const PackedOrigin& origin) {
  auto mapping = file_.map();
  nlohmann::ordered_json index{{"checkpoint", origin.checkpoint},
                               {"precision", origin.precision},
                               {"matrices", nlohmann::ordered_json::array()}};
  for (size_t idx = 0; idx < entries_.size(); ++idx) {
    const PackedEntry& entry = entries_[idx];
    auto bytes =
        mapping->bytes().subspan(static_cast<size_t>(offsets_[idx]), static_cast<size_t>(size_of(entry)));
    index["matrices"].push_back({{"name", entry.name},
                                 {"bits", entry.bits},
                                 {"out", entry.out},
                                 {"in", entry.in},
                                 {"blocks_bytes", entry.blocks_bytes},
                                 {"row_scales", entry.row_scales},
                                 {"offset", offsets_[idx]},
                                 {"probe", probe_of(bytes).hex()}});
  }
  std::string text =
      index.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::ordered_json::error_handler_t::replace);
  file_.write_at(index_offset_, std::as_bytes(std::span(text)));
  file_.flush();  // all of it lies on the disk before anything calls it whole
  Header header;
  header.key = key;
  header.index_offset = index_offset_;
  header.index_bytes = static_cast<int64_t>(text.size());
  header.file_bytes = header.index_offset + header.index_bytes;
  header.index_hash = hash_bytes(std::as_bytes(std::span(text)));
  header.own_hash = header.hash();
  file_.write_at(0, std::as_bytes(std::span(&header, 1)));
  file_.commit();
}

}  // namespace vlm
