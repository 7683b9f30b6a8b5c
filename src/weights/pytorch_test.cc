// Against files that PyTorch 2.14 wrote (tools/reference/weights.py), and against damaged ones.
#include "weights/pytorch.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

fs::path case_path(const std::string& file) {
  return fs::path(VLM_SOURCE_DIR) / "tests/cases/weights/pytorch" / file;
}

Error refusal(const std::string& file) {
  try {
    open_weights(case_path(file));
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorKind::internal, "", "");
}

void expect_same(const TensorSource& source, const TensorSource& expected) {
  EXPECT_EQ(source.names(), expected.names());
  for (const std::string& name : expected.names()) {
    Tensor wanted = expected.load(name);
    Tensor found = source.load(name);
    EXPECT_EQ(describe(found), describe(wanted)) << name;
    EXPECT_TRUE(found.equal(wanted)) << name;
    EXPECT_EQ(source.info(name).shape, expected.info(name).shape) << name;
    EXPECT_EQ(source.info(name).dtype, expected.info(name).dtype) << name;
    EXPECT_EQ(source.info(name).file_bytes, expected.info(name).file_bytes) << name;
  }
}

// Reads the first `size` bytes; true when that is an Error or goes well, false is anything else.
void load_prefix(const std::string& text, size_t size) {
  std::string prefix = text.substr(0, size);
  try {
    PytorchFile file(FileBytes::borrow(std::as_bytes(std::span(prefix)), "x.bin"));
    for (const std::string& name : file.names()) file.load(name).sum().item<double>();
    ADD_FAILURE() << "a prefix of " << size << " bytes was accepted";
  } catch (const Error& error) {
    EXPECT_NE(error.kind(), ErrorKind::internal) << error.what();
  }
}

TEST(Pytorch, ReadsEveryFormatOfTorchSave) {
  auto expected = open_weights(case_path("expected.safetensors"));
  for (const char* file : {"zip.bin", "protocol-4.bin", "before-1.6.bin", "deflated.bin", "zip64.bin"}) {
    SCOPED_TRACE(file);
    auto source = open_weights(case_path(file));
    expect_same(*source, *expected);
    EXPECT_EQ(source->describe(), file);
  }
}

TEST(Pytorch, KeepsStridesAndSharing) {
  for (const char* file : {"zip.bin", "before-1.6.bin"}) {
    auto source = open_weights(case_path(file));
    Tensor tied = source->load("state_dict.tied");
    Tensor transposed = source->load("state_dict.transposed");
    EXPECT_EQ(transposed.strides().vec(), (std::vector<int64_t>{1, 6}));
    // the format before 1.6 does not align its data: there each tensor may be a copy
    bool is_aligned = std::string(file) == "zip.bin";
    EXPECT_TRUE(!is_aligned || transposed.data_ptr() == tied.data_ptr());
    EXPECT_EQ(source->load("state_dict.expanded").strides().vec(), (std::vector<int64_t>{0, 1}));
  }
}

TEST(Pytorch, ReadsTorchScriptArchives) {
  expect_same(*open_weights(case_path("script.pt")), *open_weights(case_path("script-expected.safetensors")));
}

TEST(Pytorch, RefusesCodeByName) {
  for (const char* file : {"command.bin", "command-before-1.6.bin"}) {
    Error error = refusal(file);
    EXPECT_EQ(error.kind(), ErrorKind::bad_checkpoint);
    EXPECT_NE(
        error.message().find("the file wants to use posix.system, which is not among the names that weights "
                             "need; nothing was executed"),
        std::string::npos)
        << error.message();
  }
  EXPECT_FALSE(fs::exists("executed"));
  EXPECT_NE(refusal("module.bin").message().find("torch.nn.modules.linear.Linear"), std::string::npos);
}

TEST(Pytorch, RefusesOtherTypesAndFiles) {
  EXPECT_EQ(refusal("complex.bin").kind(), ErrorKind::unsupported);
  EXPECT_NE(refusal("complex.bin").message().find("ComplexFloatStorage"), std::string::npos);
  EXPECT_EQ(refusal("float8.bin").kind(), ErrorKind::unsupported);
  EXPECT_NE(refusal("float8.bin").message().find("float8_e4m3fn"), std::string::npos);
  EXPECT_NE(refusal("plain-pickle.bin").message().find("a pickle, but not of torch.save"), std::string::npos);
}

TEST(Pytorch, RefusesEveryPrefix) {
  for (const char* file : {"zip.bin", "before-1.6.bin", "script.pt"}) {
    SCOPED_TRACE(file);
    std::string text = read_text(case_path(file));
    for (size_t size = 0; size < text.size(); ++size) load_prefix(text, size);
  }
}

TEST(Pytorch, SurvivesEveryDamagedByte) {
  for (const char* file : {"zip.bin", "before-1.6.bin"}) {
    std::string text = read_text(case_path(file));
    for (size_t at = 0; at < text.size(); ++at)
      for (int change : {0x01, 0x80, 0xff}) {
        std::string damaged = text;
        damaged[at] = static_cast<char>(damaged[at] ^ change);
        try {
          PytorchFile source(FileBytes::borrow(std::as_bytes(std::span(damaged)), "x.bin"));
          for (const std::string& name : source.names()) source.load(name).sum().item<double>();
        } catch (const Error& error) {
          EXPECT_NE(error.kind(), ErrorKind::internal) << file << " byte " << at << ": " << error.what();
        }
      }
  }
}

}  // namespace
}  // namespace vlm
