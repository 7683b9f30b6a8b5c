#include "weights/npz.h"

#include <gtest/gtest.h>

#include <fstream>

namespace vlm {
namespace {

// Little-endian bytes of a stored zip archive with one entry.
class ZipWriter {
 public:
  void number(uint64_t value, int bytes) {
    for (int idx = 0; idx < bytes; ++idx) bytes_ += static_cast<char>(value >> (8 * idx));
  }
  void text(std::string_view text) { bytes_ += text; }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

std::filesystem::path write_archive(const std::string& header, const std::string& numbers) {
  std::string array =
      std::string("\x93NUMPY\x01", 7) + '\0' + static_cast<char>(header.size()) + '\0' + header + numbers;
  ZipWriter zip;
  auto entry = [&](uint32_t signature, bool is_directory) {
    zip.number(signature, 4);
    if (is_directory) zip.number(20, 2);
    zip.number(20, 2), zip.number(0, 2), zip.number(0, 2), zip.number(0, 4), zip.number(0, 4);
    zip.number(array.size(), 4), zip.number(array.size(), 4), zip.number(5, 2), zip.number(0, 2);
    if (is_directory)
      zip.number(0, 2), zip.number(0, 2), zip.number(0, 2), zip.number(0, 4), zip.number(0, 4);
    zip.text("a.npy");
  };
  entry(0x04034b50, false);
  zip.text(array);
  uint64_t directory = zip.bytes().size();
  entry(0x02014b50, true);
  uint64_t end = zip.bytes().size();
  zip.number(0x06054b50, 4), zip.number(0, 2), zip.number(0, 2), zip.number(1, 2), zip.number(1, 2);
  zip.number(end - directory, 4), zip.number(directory, 4), zip.number(0, 2);
  std::filesystem::path path = std::filesystem::temp_directory_path() / "vlm_npz_test.npz";
  std::ofstream(path, std::ios::binary) << zip.bytes();
  return path;
}

std::string floats(std::initializer_list<float> values) {
  std::string bytes;
  for (float value : values) bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  return bytes;
}

std::string error_of(const std::string& header, const std::string& numbers) {
  try {
    open_npz(write_archive(header, numbers))->load("a");
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

TEST(Npz, ReadsArrays) {
  auto source = open_npz(write_archive("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n",
                                       floats({1, 2, 3, 4, 5, 6})));
  EXPECT_EQ(source->names(), std::vector<std::string>{"a"});
  EXPECT_TRUE(at::equal(source->load("a"), at::arange(1, 7, at::kFloat).view({2, 3})));
}

TEST(Npz, ReadsOneAxisAndSingleNumbers) {
  EXPECT_EQ(
      open_npz(write_archive("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", floats({1, 2})))
          ->info("a")
          .shape,
      (Shape{2}));
  EXPECT_EQ(open_npz(write_archive("{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", floats({1})))
                ->info("a")
                .shape,
            Shape{});
}

TEST(Npz, RefusesWhatItCannotRead) {
  EXPECT_NE(error_of("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", floats({1}))
                .find("4 bytes left for shape [3]"),
            std::string::npos);
  EXPECT_NE(error_of("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n", "").find("type '|O'"),
            std::string::npos);
  EXPECT_NE(
      error_of("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }\n", floats({1})).find("columns"),
      std::string::npos);
  EXPECT_NE(error_of("{'descr': '<f4', 'shape': (x,), }\n", "").find("not the header"), std::string::npos);
  EXPECT_NE(error_of("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999, 99), }\n", "")
                .find("not the header"),
            std::string::npos);
}

}  // namespace
}  // namespace vlm
