#include "weights/safetensors.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/files.h"

namespace vlm {
namespace {

std::string file_of(const std::string& header, size_t data_bytes) {
  uint64_t length = header.size();
  std::string text(reinterpret_cast<const char*>(&length), sizeof length);
  text += header;
  for (size_t idx = 0; idx < data_bytes; ++idx) text += static_cast<char>(idx);
  return text;
}

FileBytes bytes_of(const std::string& text) {
  return FileBytes::borrow(std::as_bytes(std::span(text)), "x.safetensors");
}

// The message of the error that the header causes; "" when it is accepted.
std::string refusal(const std::string& header, size_t data_bytes) {
  std::string text = file_of(header, data_bytes);
  try {
    SafetensorsFile file(bytes_of(text));
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

TEST(Safetensors, SharesTheFilesBytes) {
  // 8 + 72 bytes: the data begin at a multiple of eight
  std::string header = R"({"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}})";
  header.resize(72, ' ');
  std::string text = file_of(header, 8);
  ASSERT_EQ(reinterpret_cast<uintptr_t>(text.data()) % 8, 0u);
  SafetensorsFile file(bytes_of(text));
  Tensor tensor = file.load("a");
  EXPECT_EQ(tensor.data_ptr(), text.data() + 80);
  EXPECT_EQ(describe(tensor), "float32 [2, 1]");
  EXPECT_EQ(file.info("a").file_bytes, 8);
  EXPECT_EQ(file.names(), std::vector<std::string>{"a"});
  EXPECT_THROW(file.load("b"), Error);
}

TEST(Safetensors, CopiesUnalignedData) {
  std::string header = R"({"a":{"dtype":"I16","shape":[2],"data_offsets":[0,4]}} )";
  if (header.size() % 2 == 0) header += ' ';
  std::string text = file_of(header, 4);
  SafetensorsFile file(bytes_of(text));
  EXPECT_EQ(file.load("a")[1].item<int64_t>(), 0x0302);
}

TEST(Safetensors, RefusesBadHeaders) {
  EXPECT_EQ(refusal(R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", 2),
            "x.safetensors: a: element type F8_E4M3 is not supported");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"F31","shape":[2],"data_offsets":[0,2]}})", 2),
            "x.safetensors: a: unknown element type F31");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
            "x.safetensors: a: float32 [2] takes 8 bytes, the header gives it 4");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4),
            "x.safetensors: a: lies at bytes 0 to 8 of the data, the file has 4");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
            "x.safetensors: a: the shape [4294967296, 4294967296] has too many elements");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0),
            "x.safetensors: a: the shape [4611686018427387904] has too many elements");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}})", 0),
            "x.safetensors: a: expected a size from 0 to 2^63 - 1, found -1");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                    R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                    3),
            "x.safetensors: b: begins at byte 1 of the data, inside another tensor");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3),
            "x.safetensors: a: begins at byte 1 of the data, after a gap that begins at 0");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 3),
            "x.safetensors: 1 bytes follow the last tensor");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},)"
                    R"("a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})",
                    1),
            "x.safetensors: the header names a twice");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}})", 3),
            "x.safetensors: a: lies at bytes 2 to 0 of the data, the file has 3");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[2]}})", 0),
            "x.safetensors: a: the header's entry has no proper data_offsets");
  EXPECT_EQ(refusal(R"({"a":)", 0), "x.safetensors: the header of 5 bytes is not valid JSON");
  EXPECT_EQ(refusal("[]", 0), "x.safetensors: the header does not begin with {");
  EXPECT_NE(refusal(R"({"a":)" + std::string(5000, '[') + std::string(5000, ']') + "}", 0), "");
}

TEST(Safetensors, RefusesAHugeHeaderLength) {
  std::string text("\0\0\0\0\0\0\0\x80{}", 10);
  try {
    SafetensorsFile file(bytes_of(text));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("claims 9223372036854775808 bytes"), std::string::npos) << error.message();
  }
}

TEST(Safetensors, RefusesEveryPrefix) {
  std::string text =
      file_of(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"__metadata__":{"k":"v"}})", 2);
  EXPECT_EQ(SafetensorsFile(bytes_of(text)).metadata().at("k"), "v");
  for (size_t size = 0; size < text.size(); ++size) {
    std::string prefix = text.substr(0, size);
    EXPECT_THROW(SafetensorsFile{bytes_of(prefix)}, Error) << size;
  }
}

TEST(Safetensors, MakesBooleansOfAnyByte) {
  std::string text = file_of(R"({"a":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})", 3);
  Tensor tensor = SafetensorsFile(bytes_of(text)).load("a");
  EXPECT_EQ(tensor.sum().item<int64_t>(), 2);
}

}  // namespace
}  // namespace vlm
