#include "weights/packed_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "base/error.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

constexpr ContentHash kKey{1, 2};

class Packed : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("vlm-packed-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::vector<PackedEntry> entries() {
    return {{"a.weight", 8, 16, 64, 1000, 16}, {"b.weight", 4, 32, 64, 9000, 32}};
  }
  static std::vector<std::byte> blocks(size_t idx) {
    return std::vector<std::byte>(static_cast<size_t>(entries()[idx].blocks_bytes),
                                  static_cast<std::byte>(idx + 5));
  }
  static std::vector<float> scales(size_t idx) {
    return std::vector<float>(static_cast<size_t>(entries()[idx].row_scales), 0.5f + static_cast<float>(idx));
  }
  void write() const {
    PackedFileWriter writer(path(), entries());
    for (size_t idx : {1, 0}) writer.write(idx, blocks(idx), scales(idx));
    writer.commit(kKey, {"/models/a", "int4"});
  }
  // Every single one of these bytes is looked at.
  void damage(int64_t position) const {
    std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(position);
    char value = static_cast<char>(file.get());
    file.seekp(position);
    file.put(static_cast<char>(value ^ 1));
  }
  fs::path path() const { return folder_ / "model.packed"; }

  fs::path folder_;
};

TEST_F(Packed, ComesBackAligned) {
  write();
  auto file = PackedFile::open(path(), kKey);
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(file->entries(), entries());
  for (size_t idx = 0; idx < entries().size(); ++idx) {
    PackedBytes bytes = file->bytes(idx);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.blocks.data()) % 4096, 0u);
    EXPECT_EQ(std::vector<std::byte>(bytes.blocks.begin(), bytes.blocks.end()), blocks(idx));
    EXPECT_EQ(std::vector<float>(bytes.row_scales, bytes.row_scales + entries()[idx].row_scales),
              scales(idx));
  }
  PackedOrigin origin;
  ASSERT_TRUE(PackedFile::read_origin(path(), origin));
  EXPECT_EQ(origin.checkpoint, "/models/a");
  EXPECT_EQ(origin.precision, "int4");
}

TEST_F(Packed, IsReadableBeforeItIsCommitted) {
  PackedFileWriter writer(path(), entries());
  for (size_t idx : {0, 1}) writer.write(idx, blocks(idx), scales(idx));
  PackedFile early = writer.map();
  EXPECT_FALSE(fs::exists(path()));
  writer.commit(kKey, {});
  EXPECT_EQ(early.bytes(1).blocks[8999], static_cast<std::byte>(6));
  EXPECT_EQ(early.bytes(1).row_scales[31], 1.5f);
}

TEST_F(Packed, OtherKeysAndAbsentFilesAreNotFound) {
  EXPECT_EQ(PackedFile::open(path(), kKey), nullptr);
  write();
  EXPECT_EQ(PackedFile::open(path(), {1, 3}), nullptr);
}

TEST_F(Packed, AbandonedWritersLeaveNothing) {
  { PackedFileWriter writer(path(), entries()); }
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(Packed, DamageIsSeen) {
  write();
  int64_t size = static_cast<int64_t>(fs::file_size(path()));
  for (int64_t position : {int64_t{0}, int64_t{9}, int64_t{20}, int64_t{40}, int64_t{4096}, int64_t{8192},
                           size - 1, size - 100}) {
    damage(position);
    EXPECT_EQ(PackedFile::open(path(), kKey), nullptr) << position;
    damage(position);
    EXPECT_NE(PackedFile::open(path(), kKey), nullptr) << position;
  }
  for (int64_t left : {size - 1, int64_t{8000}, int64_t{4096}, int64_t{50}, int64_t{0}}) {
    fs::resize_file(path(), static_cast<uintmax_t>(left));
    EXPECT_EQ(PackedFile::open(path(), kKey), nullptr) << left;
  }
}

// Two processes, or threads, that make the same file at once: both succeed, and what stands there is whole.
TEST_F(Packed, WritersDoNotDisturbEachOther) {
  std::thread first([&] { write(); }), second([&] {
    PackedFileWriter writer(path(), entries());
    for (size_t idx : {0, 1}) writer.write(idx, blocks(idx), scales(idx));
    writer.commit(kKey, {"/models/a", "int4"});
  });
  first.join();
  second.join();
  EXPECT_NE(PackedFile::open(path(), kKey), nullptr);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace vlm
