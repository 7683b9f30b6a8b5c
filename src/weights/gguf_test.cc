// Against files that ggml's own library wrote and expanded (tools/reference/gguf.cc), and against damaged
// ones.
#include "weights/gguf.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

fs::path case_path(const std::string& file) {
  return fs::path(VLM_SOURCE_DIR) / "tests/cases/weights/gguf" / file;
}

// Builds small files by hand.
struct Bytes {
  std::string text;

  template <typename Number>
  Bytes& number(Number value) {
    text.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& string(const std::string& value) {
    number<uint64_t>(value.size());
    text += value;
    return *this;
  }
  Bytes& tensor(const std::string& name, std::vector<uint64_t> sizes, uint32_t type, uint64_t offset) {
    string(name).number(static_cast<uint32_t>(sizes.size()));
    for (uint64_t size : sizes) number(size);
    return number(type).number(offset);
  }
  Bytes& pad(size_t data_bytes) {
    text.resize((text.size() + 31) / 32 * 32 + data_bytes);
    return *this;
  }
};

Bytes header(uint64_t tensors, uint64_t values, uint32_t version = 3) {
  Bytes bytes{"GGUF"};
  return bytes.number(version).number(tensors).number(values);
}

std::string refusal(const Bytes& bytes) {
  try {
    GgufFile file(FileBytes::borrow(std::as_bytes(std::span(bytes.text)), "x.gguf"));
    return "";
  } catch (const Error& error) {
    EXPECT_NE(error.kind(), ErrorKind::internal) << error.what();
    return error.message();
  }
}

TEST(Gguf, ReadsMetadataOfEveryType) {
  GgufFile file(FileBytes::map(case_path("types.gguf")));
  const GgufMetadata& metadata = file.metadata();
  EXPECT_EQ(metadata.get_int("t.u8"), 200);
  EXPECT_EQ(metadata.get_int("t.i8"), -5);
  EXPECT_EQ(metadata.get_int("t.u16"), 60000);
  EXPECT_EQ(metadata.get_int("t.i16"), -3000);
  EXPECT_EQ(metadata.get_int("t.u32"), 4000000000);
  EXPECT_EQ(metadata.get_int("t.i32"), -7);
  EXPECT_EQ(metadata.get_int("t.u64"), int64_t{1} << 40);
  EXPECT_EQ(metadata.get_int("t.i64"), -(int64_t{1} << 40));
  EXPECT_EQ(metadata.get_float("t.f32"), 0.5);
  EXPECT_EQ(metadata.get_float("t.f64"), 0.1);
  EXPECT_EQ(metadata.get_float("t.i32"), -7.0);
  EXPECT_TRUE(metadata.get_bool("t.bool"));
  EXPECT_EQ(metadata.get_string("general.architecture"), "test");
  EXPECT_EQ(metadata.get_strings("tokenizer.ggml.tokens"),
            (std::vector<std::string>{"<s>", "hello", "", "\xc3\xa9"}));
  EXPECT_EQ(metadata.get_floats("t.scores"), (std::vector<float>{0, -1.5f, 2}));
  EXPECT_EQ(metadata.get_ints("t.ids"), (std::vector<int64_t>{3, -4}));
  EXPECT_EQ(metadata.get_bools("t.flags"), (std::vector<bool>{true, false}));
  EXPECT_TRUE(metadata.get_ints("t.none").empty());
  EXPECT_EQ(metadata.get_int("absent", 9), 9);
  EXPECT_EQ(metadata.get_string("absent", "x"), "x");
  try {
    metadata.get_int("general.architecture");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("metadata key general.architecture is not an integer"), std::string::npos);
  }
  EXPECT_THROW(metadata.get("general.architectur"), Error);
}

TEST(Gguf, ExpandsBlocksAsGgmlDoes) {
  GgufFile file(FileBytes::map(case_path("types.gguf")));
  GgufFile expected(FileBytes::map(case_path("expected.gguf")));
  for (const std::string& name : expected.names()) {
    Tensor wanted = expected.load(name);
    Tensor found = file.load(name);
    EXPECT_EQ(shape_text(found.sizes()), "[2, 256]") << name;
    EXPECT_TRUE(found.to(at::kFloat).equal(wanted)) << name;
  }
  EXPECT_EQ(expected.names().size(), 15u);
  EXPECT_STREQ(file.type_name("q4_K"), "Q4_K");
  EXPECT_EQ(file.raw("q4_K").size(), 288u);
  EXPECT_EQ(file.info("q4_K").file_bytes, 288);
  EXPECT_EQ(file.info("q4_K").dtype, at::kFloat);
  EXPECT_EQ(describe(file.load("bf16")), "bfloat16 [2, 256]");
  for (const char* name : {"i8", "i16", "i32", "i64", "f64"}) {
    Tensor values = file.load(name);
    EXPECT_EQ(shape_text(values.sizes()), "[2, 3]");
    EXPECT_EQ(values[1][2].item<double>(), 3.0) << name;
  }
}

TEST(Gguf, ExpandsTypesOfProducts) {  // never in published files, hence not in ggml's
  std::vector<uint8_t> block(292, 0xff);
  std::vector<float> values(256);
  float scale = 0.25f;
  std::memcpy(block.data(), &scale, sizeof scale);
  dequantise(*find_block_format(15), std::as_bytes(std::span(block)), values.data());
  EXPECT_EQ(values[255], -0.25f);
  block.resize(36);
  block[0] = 0x00, block[1] = 0x34;  // 0.25 as float16
  dequantise(*find_block_format(9), std::as_bytes(std::span(block)), values.data());
  EXPECT_EQ(values[31], -0.25f);
}

TEST(Gguf, OpensThroughTheFolder) {
  auto source = open_weights(case_path("types.gguf"));
  EXPECT_EQ(source->describe(), "types.gguf");
  EXPECT_TRUE(source->has("q6_K"));
}

TEST(Gguf, ReadsVersionOneAndNestedLists) {
  Bytes bytes{"GGUF"};
  bytes.number<uint32_t>(1).number<uint32_t>(1).number<uint32_t>(1);
  bytes.number<uint32_t>(1).text += "k";
  bytes.number<uint32_t>(9).number<uint32_t>(9).number<uint32_t>(2);
  for (uint8_t value : {7, 8}) bytes.number<uint32_t>(0).number<uint32_t>(1).number(value);
  bytes.number<uint32_t>(1).text += "t";
  bytes.number<uint32_t>(2)
      .number<uint32_t>(1)
      .number<uint32_t>(2)
      .number<uint32_t>(24)
      .number<uint64_t>(0)
      .pad(2);
  bytes.text.back() = 5;
  GgufFile file(FileBytes::borrow(std::as_bytes(std::span(bytes.text)), "x.gguf"));
  const auto& lists = std::get<std::vector<GgufValue>>(file.metadata().get("k").value);
  ASSERT_EQ(lists.size(), 2u);
  EXPECT_EQ(std::get<std::vector<int64_t>>(lists[1].value)[0], 8);
  EXPECT_EQ(shape_text(file.load("t").sizes()), "[2, 1]");
  EXPECT_EQ(file.load("t")[1].item<int64_t>(), 5);
}

TEST(Gguf, RefusesBadHeaders) {
  EXPECT_EQ(refusal(header(0, 0, 4)), "x.gguf: GGUF version 4, known are 1 to 3");
  EXPECT_EQ(refusal(header(0, 0, 0x03000000)), "x.gguf: a big-endian file");
  EXPECT_EQ(refusal(header(uint64_t{1} << 60, 0)),
            "x.gguf: a tensor's name at byte 24 needs 8 bytes, 0 are left");
  EXPECT_EQ(refusal(header(0, uint64_t{1} << 60)),
            "x.gguf: a metadata key at byte 24 needs 8 bytes, 0 are left");
  EXPECT_EQ(refusal(header(0, 1).number(~uint64_t{0})),
            "x.gguf: a metadata key of 18446744073709551615 bytes at byte 32");
  EXPECT_EQ(refusal(header(0, 1).string("k").number<uint32_t>(13)),
            "x.gguf: metadata key k has the unknown type 13");
  EXPECT_EQ(refusal(header(0, 1).string("k").number<uint32_t>(7).number<uint8_t>(2)),
            "x.gguf: metadata key k = 2 is neither true nor false");
  EXPECT_EQ(
      refusal(header(0, 1).string("k").number<uint32_t>(9).number<uint32_t>(8).number(uint64_t{1} << 61)),
      "x.gguf: metadata at byte 49 needs 8 bytes, 0 are left");
  Bytes deep = header(0, 1).string("k").number<uint32_t>(9);
  for (int level = 0; level < 100000; ++level) deep.number<uint32_t>(9).number<uint64_t>(1);
  EXPECT_EQ(refusal(deep), "x.gguf: metadata key k nests deeper than 4 lists");
  EXPECT_EQ(refusal(header(0, 1).string("general.alignment").number<uint32_t>(4).number<uint32_t>(24)),
            "x.gguf: general.alignment = 24 is not a power of two");
  EXPECT_EQ(refusal(header(0, 2)
                        .string("k")
                        .number<uint32_t>(0)
                        .number<uint8_t>(2)
                        .string("k")
                        .number<uint32_t>(0)
                        .number<uint8_t>(2)),
            "x.gguf: two metadata keys k");
}

TEST(Gguf, RefusesBadTensors) {
  EXPECT_EQ(refusal(header(1, 0).tensor("t", {4, 2}, 0, 0).pad(31)),
            "x.gguf: t: 32 bytes at byte 0 of the data, the file has 31");
  EXPECT_EQ(refusal(header(1, 0).tensor("t", {uint64_t{1} << 62, 4}, 24, 0).pad(8)),
            "x.gguf: t: the shape [4, 4611686018427387904] has too many elements");
  EXPECT_EQ(refusal(header(1, 0).tensor("t", {~uint64_t{0}}, 24, 0).pad(8)),
            "x.gguf: t: a size of 18446744073709551615");
  EXPECT_EQ(refusal(header(1, 0).tensor("t", {uint64_t{1} << 62}, 28, 0).pad(8)),
            "x.gguf: t: the shape [4611686018427387904] has too many elements");
  EXPECT_EQ(refusal(header(1, 0).tensor("t", {1, 1, 1, 1, 1}, 0, 0).pad(8)), "x.gguf: t: 5 axes, at most 4");
  EXPECT_EQ(refusal(header(1, 0).tensor("t", {33}, 2, 0).pad(64)),
            "x.gguf: t: rows of 33 elements are not whole Q4_0 blocks of 32");
  EXPECT_EQ(refusal(header(1, 0).tensor("t", {256}, 16, 0).pad(64)),
            "x.gguf: t: element type IQ2_XXS is not supported");
  EXPECT_EQ(refusal(header(1, 0).tensor("t", {256}, 99, 0).pad(64)),
            "x.gguf: t: element type 99 is not known");
  EXPECT_EQ(refusal(header(1, 0).tensor("t", {4}, 0, 16).pad(64)),
            "x.gguf: t: begins at byte 16 of the data, not a multiple of 32");
  EXPECT_EQ(refusal(header(2, 0).tensor("a", {16}, 0, 0).tensor("b", {8}, 0, 32).pad(64)),
            "x.gguf: b: lies inside a");
  EXPECT_EQ(refusal(header(2, 0).tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).pad(64)),
            "x.gguf: a: two tensors have this name");
  EXPECT_EQ(refusal(header(1, 0).tensor("t", {8}, 0, ~uint64_t{31}).pad(64)),
            "x.gguf: t: 32 bytes at byte 18446744073709551584 of the data, the file has 64");
  EXPECT_EQ(refusal(header(1, 0).tensor("t", {8}, 0, 32).pad(64)), "");
}

TEST(Gguf, SurvivesPrefixesAndDamage) {
  std::string text = read_text(case_path("types.gguf"));
  constexpr size_t kPadding = 16;  // at the file's end; nobody misses it
  for (size_t size = 0; size < text.size() - kPadding; ++size)
    EXPECT_NE(refusal({text.substr(0, size)}), "") << size;
  for (size_t at = 0; at < 2500; ++at)  // the header
    for (int change : {0x01, 0x10, 0xff}) {
      Bytes damaged{text};
      damaged.text[at] = static_cast<char>(damaged.text[at] ^ change);
      refusal(damaged);
    }
}

}  // namespace
}  // namespace vlm
