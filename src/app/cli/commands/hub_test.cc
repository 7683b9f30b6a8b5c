#include "app/cli/commands/hub.h"

#include <gtest/gtest.h>
#include <httplib.h>
#include <openssl/evp.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "app/cli/commands/command.h"
#include "app/cli/commands/pictures.h"
#include "base/files.h"
#include "system/hub_cache.h"

namespace vlm::cli {
namespace {

namespace fs = std::filesystem;

std::string sum_of(const EVP_MD* kind, const std::string& text) {
  unsigned char sum[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_Digest(text.data(), text.size(), sum, &length, kind, nullptr);
  std::string hex;
  for (unsigned idx = 0; idx < length; ++idx) hex += fmt::format("{:02x}", sum[idx]);
  return hex;
}

// A hub on the loopback interface that can be told to misbehave.
class FakeHub : public testing::Test {
 protected:
  static constexpr char kCommit[] = "0123456789abcdef0123456789abcdef01234567";

  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("vlm-hub-test-{}", ::getpid());
    fs::remove_all(folder_);
    ::setenv("HF_HOME", folder_.c_str(), 1);
    ::unsetenv("HF_HUB_CACHE");
    ::unsetenv("HF_TOKEN");
    interrupted = false;
    for (int idx = 0; idx < 300000; ++idx) large_ += static_cast<char>(idx * 7 + idx / 251);
    files_ = {{"config.json", "{\"architectures\": []}\n"},
              {"model.safetensors", large_},
              {"pytorch_model.bin", "the same weights again"},
              {"onnx/model.onnx", "and again"},
              {"sub folder/notes+1.txt", "notes"},
              {".gitattributes", "x"}};
    server_.Get(R"(/api/models/org/name/revision/([^/]+))",
                [this](const httplib::Request& request, httplib::Response& reply) { list(request, reply); });
    server_.Get(R"(/org/name/resolve/([^/]+)/(.+))",
                [this](const httplib::Request& request, httplib::Response& reply) { file(request, reply); });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ::setenv("HF_ENDPOINT", fmt::format("http://127.0.0.1:{}/", port_).c_str(), 1);
  }
  void TearDown() override {
    server_.stop();
    thread_.join();
    fs::remove_all(folder_);
    ::unsetenv("HF_ENDPOINT");
    ::unsetenv("HF_HOME");
  }

  bool may_read(const httplib::Request& request) const {
    return wanted_token_.empty() || request.get_header_value("Authorization") == "Bearer " + wanted_token_;
  }

  void list(const httplib::Request& request, httplib::Response& reply) {
    if (!may_read(request)) {
      reply.status = 401;
      return;
    }
    if (request.matches[1] != "main" && request.matches[1] != kCommit) {
      reply.status = 404;
      return;
    }
    nlohmann::json siblings = nlohmann::json::array();
    for (const auto& [name, text] : files_) {
      nlohmann::json entry{{"rfilename", name}, {"size", text.size()}};
      entry["blobId"] = sum_of(EVP_sha1(), fmt::format("blob {}", text.size()) + std::string(1, '\0') + text);
      if (name == "model.safetensors")
        entry["lfs"] = {{"sha256", sum_of(EVP_sha256(), text)}, {"size", text.size()}};
      siblings.push_back(entry);
    }
    reply.set_content(nlohmann::json{{"sha", kCommit}, {"siblings", siblings}}.dump(), "application/json");
  }

  void file(const httplib::Request& request, httplib::Response& reply) {
    if (!may_read(request)) {
      reply.status = 401;
      return;
    }
    std::string name = request.matches[2];
    std::lock_guard lock(mutex_);
    asked_.push_back(name + request.get_header_value("Range"));
    const std::string& text = files_.at(name);
    if (name == "model.safetensors" && breaks_ > 0) {
      --breaks_;
      reply.status = 503;
      return;
    }
    if (name == "model.safetensors" && alters_) {
      reply.set_content(std::string(text.size(), 'x'), "application/octet-stream");
      return;
    }
    reply.set_content(text, "application/octet-stream");  // httplib answers ranges itself
    if (ignores_ranges_) const_cast<httplib::Request&>(request).ranges.clear();
  }

  int pull(PullOptions options) {
    Options all;
    all.quiet = true;
    all.json = true;
    Context context{all, Terminal::open(all)};
    testing::internal::CaptureStdout();
    try {
      int code = run_command(options, context);
      printed_ = testing::internal::GetCapturedStdout();
      return code;
    } catch (...) {
      testing::internal::GetCapturedStdout();
      throw;
    }
  }
  static PullOptions model(std::vector<std::string> include = {}) {
    PullOptions options;
    options.hub_id = "org/name";
    options.include = std::move(include);
    return options;
  }
  std::string error_of(const PullOptions& options) {
    try {
      pull(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  fs::path repository() const { return folder_ / "hub" / "models--org--name"; }
  fs::path partial() const { return repository() / "blobs" / (sum_of(EVP_sha256(), large_) + ".incomplete"); }

  fs::path folder_;
  std::string large_, printed_, wanted_token_;
  std::map<std::string, std::string> files_;
  std::mutex mutex_;
  std::vector<std::string> asked_;
  int breaks_ = 0;
  bool alters_ = false, ignores_ranges_ = false;
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
};

TEST_F(FakeHub, PullFillsTheOrdinaryCache) {
  EXPECT_EQ(pull(model()), kExitOk);
  std::optional<fs::path> snapshot = cached_snapshot("org/name");
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(snapshot->filename(), kCommit);
  EXPECT_EQ(read_text(*snapshot / "model.safetensors"), large_);
  EXPECT_EQ(read_text(*snapshot / "sub folder" / "notes+1.txt"), "notes");
  EXPECT_TRUE(fs::is_symlink(*snapshot / "config.json"));
  EXPECT_TRUE(fs::read_symlink(*snapshot / "sub folder" / "notes+1.txt").is_relative());
  EXPECT_FALSE(fs::exists(*snapshot / "pytorch_model.bin")) << "the same weights in another format";
  EXPECT_FALSE(fs::exists(*snapshot / "onnx"));
  EXPECT_EQ(read_text(repository() / "refs" / "main"), kCommit);
  EXPECT_FALSE(fs::exists(partial()));

  asked_.clear();
  EXPECT_EQ(pull(model()), kExitOk);
  EXPECT_TRUE(asked_.empty()) << "everything is there already";
}

TEST_F(FakeHub, PullTakesPatterns) {
  EXPECT_EQ(pull(model({"*.json", "*.bin"})), kExitOk);
  fs::path snapshot = *cached_snapshot("org/name");
  EXPECT_TRUE(fs::exists(snapshot / "pytorch_model.bin"));
  EXPECT_FALSE(fs::exists(snapshot / "model.safetensors"));
  EXPECT_NE(error_of(model({"*.nothing"})).find("has no such files"), std::string::npos);
}

TEST_F(FakeHub, PullGoesOnWhereItStopped) {
  fs::create_directories(partial().parent_path());
  write_text(partial(), std::string_view(large_).substr(0, 100000));
  EXPECT_EQ(pull(model()), kExitOk);
  EXPECT_NE(std::find(asked_.begin(), asked_.end(), "model.safetensorsbytes=100000-"), asked_.end());
  EXPECT_EQ(read_text(*cached_snapshot("org/name") / "model.safetensors"), large_);
}

TEST_F(FakeHub, PullStartsAnewWhereTheServerIgnoresRanges) {
  ignores_ranges_ = true;
  fs::create_directories(partial().parent_path());
  write_text(partial(), std::string_view(large_).substr(0, 100000));
  EXPECT_EQ(pull(model()), kExitOk);
  EXPECT_EQ(read_text(*cached_snapshot("org/name") / "model.safetensors"), large_);
}

TEST_F(FakeHub, PullTriesAgain) {
  breaks_ = 2;
  EXPECT_EQ(pull(model()), kExitOk);
  EXPECT_EQ(read_text(*cached_snapshot("org/name") / "model.safetensors"), large_);
}

TEST_F(FakeHub, PullRefusesAlteredFiles) {
  alters_ = true;
  EXPECT_NE(error_of(model()).find("model.safetensors: 300000 bytes with the sum"), std::string::npos);
  EXPECT_FALSE(cached_snapshot("org/name")) << "nothing points to a half-fetched model";
  alters_ = false;
  EXPECT_EQ(pull(model()), kExitOk);
  EXPECT_EQ(read_text(*cached_snapshot("org/name") / "model.safetensors"), large_);
}

TEST_F(FakeHub, PullShowsItsToken) {
  wanted_token_ = "secret";
  EXPECT_NE(error_of(model()).find("access refused (401)\n  hint: set HF_TOKEN"), std::string::npos);
  ::setenv("HF_TOKEN", "secret", 1);
  EXPECT_EQ(pull(model()), kExitOk);
  ::unsetenv("HF_TOKEN");
  fs::remove_all(repository());
  write_text(folder_ / "token", "secret\n");
  EXPECT_EQ(pull(model()), kExitOk) << "the file where the hub's own tools keep the token";
}

TEST_F(FakeHub, PullNamesWhatDoesNotExist) {
  PullOptions options = model();
  options.revision = "nowhere";
  EXPECT_NE(error_of(options).find("not found (404)"), std::string::npos);
  options.hub_id = "no-slash";
  EXPECT_EQ(error_of(options),
            "\"no-slash\" is no hub id\n  hint: give organisation/name, as in llava-hf/llava-1.5-7b-hf");
  options.hub_id = "org/name";
  options.revision = "../../x";
  EXPECT_NE(error_of(options).find("is no revision"), std::string::npos);
}

TEST_F(FakeHub, PullStopsWhenInterrupted) {
  interrupted = true;
  EXPECT_EQ(pull(model()), kExitInterrupted);
  interrupted = false;
}

TEST_F(FakeHub, PicturesComeFromAddresses) {
  fs::path picture = fs::path(VLM_SOURCE_DIR) / "tests/cases/llava-1.5-a/media/a.png";
  files_["a.png"] = read_text(picture);
  std::string address = fmt::format("http://127.0.0.1:{}/org/name/resolve/main/", port_);
  EXPECT_EQ(read_picture(address + "a.png").pixels, read_image(picture).pixels);
  EXPECT_THROW(read_picture(address + "config.json"), Error);
}

TEST(Hub, RefusesNamesThatLeaveTheFolder) {
  auto answer = [](const std::string& name) {
    return fmt::format(R"({{"sha": "abc", "siblings": [{{"rfilename": "{}", "size": 1, "blobId": "{}"}}]}})",
                       name, std::string(40, 'a'));
  };
  EXPECT_EQ(parse_repository("org/name", answer("a/b.json")).files.size(), 1u);
  for (const char* name : {"../x", "/etc/x", "a/../../x", "a/", ".", ""})
    EXPECT_THROW(parse_repository("org/name", answer(name)), Error) << name;
  EXPECT_THROW(parse_repository("org/name", R"({"sha": "../x", "siblings": []})"), Error);
}

}  // namespace
}  // namespace vlm::cli
