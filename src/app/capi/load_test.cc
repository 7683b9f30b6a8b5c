// How models are found and in which precision they are kept (engine/load.h), and what becomes of foreign
// exceptions; here because loading needs every system.
#include "engine/load.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <new>

#include "engine/boundary.h"
#include "engine/quantised_cache.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

// A folder of its own, and environment variables that are put back.
class Load : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("vlm_load_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override {
    fs::remove_all(folder_);
    for (const auto& [name, value] : before_) value ? setenv(name, value->c_str(), 1) : unsetenv(name);
  }
  void set(const char* name, const std::string& value) {
    const char* old = getenv(name);
    before_.push_back({name, old ? std::optional<std::string>(old) : std::nullopt});
    setenv(name, value.c_str(), 1);
  }
  void write(const fs::path& path, const std::string& text) {
    fs::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text;
  }

  fs::path folder_;
  std::vector<std::pair<const char*, std::optional<std::string>>> before_;
};

Error error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorKind::internal, "nothing was thrown", "");
}

TEST_F(Load, FindsFoldersDefaultAndCache) {
  set("HF_HUB_CACHE", (folder_ / "hub").string());
  set("VLM_ASSETS", (folder_ / "assets").string());
  write("assets/default/config.json", "{}");
  write("hub/models--org--name/refs/main", "abc\n");
  write("hub/models--org--name/snapshots/abc/config.json", "{}");
  EXPECT_EQ(find_model(folder_.string()), folder_);
  EXPECT_EQ(find_model("default"), folder_ / "assets" / "default");
  EXPECT_EQ(find_model("org/name"), folder_ / "hub/models--org--name/snapshots/abc");
  EXPECT_EQ(find_model("org/name", "abc"), folder_ / "hub/models--org--name/snapshots/abc");
}

TEST_F(Load, SaysHowToGetWhatIsNotThere) {
  set("HF_HUB_CACHE", (folder_ / "hub").string());
  Error error = error_of([] { find_model("org/other"); });
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_EQ(error.hint(), "get it with: vlm pull org/other");
  EXPECT_NE(error.message().find((folder_ / "hub").string()), std::string::npos) << error.message();
  EXPECT_EQ(error_of([] { find_model("org/other", "v2"); }).hint(),
            "get it with: vlm pull org/other --revision v2");
  EXPECT_EQ(error_of([] { find_model("./org/other"); }).message(), "./org/other: no such model");
  EXPECT_EQ(error_of([] { find_model(""); }).kind(), ErrorKind::bad_request);
}

// Names with dtype, shape and bytes; no values.
class Listing final : public TensorSource {
 public:
  std::map<std::string, TensorInfo> tensors;

  std::vector<std::string> names() const override {
    std::vector<std::string> list;
    for (const auto& [name, info] : tensors) list.push_back(name);
    return list;
  }
  bool has(const std::string& name) const override { return tensors.contains(name); }
  TensorInfo info(const std::string& name) const override { return tensors.at(name); }
  Tensor load(const std::string&) const override { return {}; }
  std::string describe() const override { return "listing"; }
};

TEST(ChoosePrecision, FollowsTheFile) {
  constexpr int64_t kGiB = int64_t{1} << 30;
  Listing small, large, q8, q4, own;
  small.tensors["a"] = {{1 << 10, 1 << 20}, at::kHalf, 2 * kGiB};
  large.tensors["a"] = {{1 << 10, 1 << 20}, at::kHalf, 2 * kGiB};
  large.tensors["b"] = {{16}, at::kFloat, 64};
  q8.tensors["a"] = {{1024, 1024}, at::kFloat, 1024 * 1024 * 34 / 32};
  q4.tensors["a"] = {{1024, 1024}, at::kFloat, 1024 * 1024 * 18 / 32};
  own.tensors["a"] = {{1024, 512}, at::kByte, 1024 * 512};
  own.tensors["a_scale"] = {{1024, 32}, at::kFloat, 1024 * 32 * 4};
  own.tensors["embedding"] = {{32000, 1024}, at::kFloat, 32000 * 1024 * 4};
  EXPECT_EQ(choose_precision(small), Precision::f32);
  EXPECT_EQ(choose_precision(large), Precision::bf16);
  EXPECT_EQ(choose_precision(q8), Precision::int8);
  EXPECT_EQ(choose_precision(q4), Precision::int4);
  EXPECT_EQ(choose_precision(own), Precision::int4);
}

// Logits of a small model at 4 bits, as loading and keeping gave it.
Tensor logits_of(const std::string& checkpoint, const LoadOptions& options) {
  at::NoGradGuard no_grad;
  auto loaded = load_model(checkpoint, options);
  const auto& generator = *as<Generator>(*loaded->model);
  Request request;
  request.messages = {ChatMessage::text("user", "What is this?")};
  Prompt prompt = generator.prepare(request);
  Sequence sequence;
  return generator.prefill(prompt, {}, sequence, /*all_rows=*/true);
}

TEST_F(Load, KeepsWhatItQuantised) {
  set("VLM_CACHE", (folder_ / "kept").string());
  fs::path model = folder_ / "model";
  fs::copy(VLM_SOURCE_DIR "/tests/cases/qwen2-vl-a/checkpoint", model, fs::copy_options::recursive);
  LoadOptions options;
  options.precision = Precision::int4;
  logits_of(model.string(), options);
  EXPECT_TRUE(kept_models().empty()) << "not worth it: small";

  options.smallest_kept_bytes = 0;
  options.keep_quantised = false;
  Tensor wanted = logits_of(model.string(), options);
  EXPECT_TRUE(kept_models().empty()) << "not wanted";

  options.keep_quantised = true;
  EXPECT_TRUE(at::equal(logits_of(model.string(), options), wanted));
  std::vector<KeptModel> kept = kept_models();
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0].precision, "int4");
  EXPECT_EQ(kept[0].checkpoint, fs::canonical(model).string());
  auto stamp = fs::last_write_time(kept[0].file);
  EXPECT_TRUE(at::equal(logits_of(model.string(), options), wanted));
  EXPECT_EQ(fs::last_write_time(kept[0].file), stamp) << "made again";

  // Moved with its times, it is found again; other content, or another time, is another checkpoint, and takes
  // the first one's place.
  fs::rename(model, folder_ / "moved");
  EXPECT_TRUE(at::equal(logits_of((folder_ / "moved").string(), options), wanted));
  EXPECT_EQ(kept_models().size(), 1u);
  fs::rename(folder_ / "moved", model);
  fs::path weights = model / "model.safetensors";
  fs::last_write_time(weights, fs::last_write_time(weights) + std::chrono::seconds(1));
  EXPECT_TRUE(at::equal(logits_of(model.string(), options), wanted));
  ASSERT_EQ(kept_models().size(), 1u);
  EXPECT_NE(kept_models()[0].file, kept[0].file);

  options.precision = Precision::int8;
  logits_of(model.string(), options);
  EXPECT_EQ(kept_models().size(), 2u);
  write("kept/quantised/old.packed.part-1-1", "of a process that was killed");
  EXPECT_GT(clear_kept_models(), 0);
  EXPECT_TRUE(kept_models().empty());

  set("VLM_CACHE", "off");
  EXPECT_TRUE(at::equal(logits_of(model.string(), options), logits_of(model.string(), options)));
  EXPECT_TRUE(quantised_cache_folder().empty());
}

TEST(Boundary, TranslatesWhatOthersThrow) {
  EXPECT_EQ(error_of([] { with_errors([] { throw std::bad_alloc(); }); }).kind(),
            ErrorKind::out_of_resources);
  Error tensor = error_of([] { with_errors([] { at::zeros({2, 3}).matmul(at::zeros({2, 3})); }); });
  EXPECT_EQ(tensor.kind(), ErrorKind::internal);
  EXPECT_NE(tensor.message().find("tensor library: "), std::string::npos);
  EXPECT_EQ(tensor.message().find('\n'), std::string::npos) << "no backtrace: " << tensor.message();
  Error memory = error_of([] { with_errors([] { at::empty({int64_t{1} << 50}); }); });
  EXPECT_EQ(memory.kind(), ErrorKind::out_of_resources) << memory.message();
  Error own = error_of([] { with_errors([] { fail(ErrorKind::not_found, "look", "gone"); }); });
  EXPECT_EQ(own.message(), "gone");
}

}  // namespace
}  // namespace vlm
