#include "base/files.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace vlm {
namespace {

TEST(Files, AtomicFileLeavesAllOrNothing) {
  auto path = std::filesystem::temp_directory_path() / "vlm_files_test.txt";
  std::filesystem::remove(path);
  {
    AtomicFile file(path);
    file.write("half a fi");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  write_text(path, "whole");
  EXPECT_EQ(read_text(path), "whole");
  EXPECT_EQ(MappedFile::open(path)->bytes().size(), 5u);
  EXPECT_THROW(read_text(path, 4), Error);
  std::filesystem::remove(path);
  EXPECT_THROW(read_text(path), Error);
  EXPECT_THROW(MappedFile::open(path), Error);
}

TEST(Files, FullDiskIsReported) {
  if (!std::filesystem::exists("/dev/full")) return;
  try {
    AtomicFile file("/dev/full/x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("cannot be written"), std::string::npos);
  }
}

}  // namespace
}  // namespace vlm
