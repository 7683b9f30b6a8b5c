#include "weights/writer.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/files.h"
#include "base/log.h"
#include "weights/safetensors.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

class Writer : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("vlm-writer-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  size_t num_files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  fs::path folder_;
};

TEST_F(Writer, WritesWhatTheReferenceWrites) {
  fs::path reference = fs::path(VLM_SOURCE_DIR) / "tests/cases/weights/pytorch/expected.safetensors";
  SafetensorsFile source(FileBytes::map(reference));
  NamedTensors tensors;
  for (const std::string& name : source.names()) tensors.emplace_back(name, source.load(name));
  write_safetensors(folder_ / "a.safetensors", tensors, source.metadata());
  EXPECT_TRUE(read_text(folder_ / "a.safetensors") == read_text(reference));
}

TEST_F(Writer, WritesStridedTensorsContiguously) {
  Tensor base = at::arange(6, at::kFloat).view({2, 3});
  write_safetensors(folder_ / "a.safetensors", {{"t", base.t()}, {"scalar", at::ones({}, at::kBFloat16)}});
  auto source = open_safetensors(folder_ / "a.safetensors");
  EXPECT_TRUE(source->load("t").equal(base.t()));
  EXPECT_TRUE(source->load("t").is_contiguous());
  EXPECT_EQ(describe(source->load("scalar")), "bfloat16 []");
  EXPECT_EQ(num_files(), 1u);
}

TEST_F(Writer, ReplacesTheFileItReads) {
  write_safetensors(folder_ / "model.safetensors", {{"t", at::ones({1000})}});
  auto source = open_weights(folder_);
  write_safetensors(folder_ / "model.safetensors", {{"u", source->load("t")}});
  EXPECT_TRUE(open_weights(folder_)->load("u").equal(at::ones({1000})));
  EXPECT_TRUE(source->load("t").equal(at::ones({1000})));
}

TEST_F(Writer, SplitsIntoShards) {
  NamedTensors tensors = {
      {"c", at::ones({10})}, {"a", at::zeros({15})}, {"b", at::ones({100})}, {"d", at::ones({1})}};
  double last = 0;
  set_progress_sink([&](const Progress& progress) { last = progress.done / progress.total; });
  auto files = write_weights(folder_, tensors, kPyTorchMetadata, 100);
  set_progress_sink({});
  EXPECT_EQ(last, 1.0);
  EXPECT_EQ(files,
            (std::vector<std::string>{"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                      "model-00003-of-00003.safetensors", "model.safetensors.index.json"}));
  auto source = open_weights(folder_);
  EXPECT_EQ(source->names(), (std::vector<std::string>{"a", "b", "c", "d"}));
  EXPECT_TRUE(source->load("b").equal(at::ones({100})));
  EXPECT_NE(read_text(folder_ / "model.safetensors.index.json").find("\"total_size\": 504"),
            std::string::npos);
}

TEST_F(Writer, LeavesOneLayoutOnly) {
  NamedTensors tensors = {{"a", at::zeros({15})}, {"b", at::ones({100})}};
  EXPECT_EQ(write_weights(folder_, tensors), std::vector<std::string>{"model.safetensors"});
  write_weights(folder_, tensors, kPyTorchMetadata, 100);
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors"));
  write_weights(folder_, {{"new", at::ones({1})}});
  EXPECT_EQ(open_weights(folder_)->names(), std::vector<std::string>{"new"});
  EXPECT_FALSE(fs::exists(folder_ / "model.safetensors.index.json"));
}

TEST_F(Writer, LeavesNothingWhenTheDiskIsFull) {
  struct rlimit before {};
  getrlimit(RLIMIT_FSIZE, &before);
  auto handler = ::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 4096;  // a file may grow to this: what a full disk looks like to the writer
  setrlimit(RLIMIT_FSIZE, &small);
  NamedTensors tensors = {{"a", at::ones({100})}, {"b", at::ones({2000})}};
  ErrorKind kind = ErrorKind::internal;
  try {
    write_weights(folder_, tensors, kPyTorchMetadata, 1000);
  } catch (const Error& error) {
    kind = error.kind();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(kind, ErrorKind::out_of_resources);
  EXPECT_EQ(num_files(), 0u);
}

TEST_F(Writer, RefusesWhatTheFormatCannotHold) {
  EXPECT_THROW(write_safetensors(folder_ / "a", {{"a", at::ones({1})}, {"a", at::ones({1})}}), Error);
  EXPECT_THROW(write_safetensors(folder_ / "a", {{"__metadata__", at::ones({1})}}), Error);
  EXPECT_THROW(write_safetensors(folder_ / "a", {{"a", at::ones({1}, at::kComplexFloat)}}), Error);
  EXPECT_THROW(write_safetensors(folder_ / "a", {{"\xff", at::ones({1})}}), Error);
  EXPECT_THROW(write_safetensors(folder_ / "absent" / "a", {{"a", at::ones({1})}}), Error);
  EXPECT_EQ(num_files(), 0u);
}

}  // namespace
}  // namespace vlm
