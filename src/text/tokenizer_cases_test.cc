// Every folder of tests/cases/tokenizers: a tokenizer, and what the reference libraries make of the texts in
// strings.json (tools/reference/tokenizers.py writes them).

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "text/charsmap.h"
#include "text/gguf_tokenizer.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kCases = fs::path(VLM_SOURCE_DIR) / "tests" / "cases" / "tokenizers";

json read_json(const fs::path& path) {
  return json::parse(read_text(path));
}

std::shared_ptr<const Tokenizer> gguf_tokenizer(const json& values) {
  GgufTokenizer gguf;
  gguf.model = values.at("model");
  gguf.pre = values.value("pre", "");
  gguf.tokens = values.at("tokens").get<std::vector<std::string>>();
  gguf.scores = values.value("scores", std::vector<float>());
  gguf.token_types = values.value("token_types", std::vector<int32_t>());
  gguf.merges = values.value("merges", std::vector<std::string>());
  gguf.remove_extra_whitespaces = values.value("remove_extra_whitespaces", false);
  gguf.precompiled_charsmap = decode_base64(values.value("precompiled_charsmap", ""), "gguf.json");
  auto id = [&](const char* key) {
    return values.contains(key) ? std::optional<int64_t>(values.at(key)) : std::nullopt;
  };
  gguf.bos_id = id("bos_id");
  gguf.eos_id = id("eos_id");
  gguf.unk_id = id("unk_id");
  gguf.cls_id = id("cls_id");
  gguf.sep_id = id("sep_id");
  return tokenizer_from_gguf(gguf);
}

std::string tokens_of(const Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  std::string text;
  for (int64_t id : ids) text += fmt::format("{}:{} ", id, tokenizer.id_to_token(id));
  return text;
}

class TokenizerCase : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    fs::path folder = kCases / GetParam();
    expected_ = read_json(folder / "expected.json");
    texts_ = read_json(kCases / "strings.json").get<std::vector<std::string>>();
    if (fs::exists(folder / "gguf.json"))
      tokenizer_ = gguf_tokenizer(read_json(folder / "gguf.json"));
    else
      tokenizer_ = load_tokenizer(folder).tokenizer;
    ASSERT_GE(texts_.size(), 200u);
    ASSERT_EQ(expected_.at("ids").size(), texts_.size());
  }

  std::vector<int64_t> plain_ids(size_t index) const {
    const json& stored = expected_.at("plain_ids")[index];
    if (stored.size() != 1 || !stored[0].is_array()) return stored;
    std::vector<int64_t> ids = expected_.at("ids")[index];
    ids.erase(ids.begin(), ids.begin() + stored[0][0].get<int>());
    ids.resize(ids.size() - stored[0][1].get<size_t>());
    return ids;
  }

  json expected_;
  std::vector<std::string> texts_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_P(TokenizerCase, IdsAreTheReferences) {
  for (size_t index = 0; index < texts_.size(); ++index) {
    std::vector<int64_t> wanted = expected_.at("ids")[index];
    std::vector<int64_t> found = tokenizer_->ids(texts_[index]);
    EXPECT_EQ(found, wanted) << "text " << index << ": " << json(texts_[index]).dump() << "\n found "
                             << tokens_of(*tokenizer_, found) << "\nwanted "
                             << tokens_of(*tokenizer_, wanted);
    EXPECT_EQ(tokenizer_->ids(texts_[index], false), plain_ids(index)) << "text " << index;
  }
}

TEST_P(TokenizerCase, PairsAreTheReferences) {
  for (const json& pair : expected_.at("pairs")) {
    auto found = tokenizer_->encode_pair(texts_[pair[0].get<size_t>()], texts_[pair[1].get<size_t>()]);
    EXPECT_EQ(found.ids, pair[2].get<std::vector<int64_t>>());
    EXPECT_EQ(found.type_ids, pair[3].get<std::vector<int64_t>>());
  }
}

TEST_P(TokenizerCase, TextIsTheReferences) {
  for (size_t index = 0; index < texts_.size(); ++index) {
    std::vector<int64_t> ids = expected_.at("ids")[index];
    auto check = [&](const char* key, bool skip) {
      json wanted = expected_.at(key)[index];
      if (wanted == true) wanted = expected_.at("text")[index];
      if (wanted == false) return;
      EXPECT_EQ(tokenizer_->decode(ids, skip), wanted.is_null() ? texts_[index] : wanted.get<std::string>())
          << key << " of text " << index << ": " << tokens_of(*tokenizer_, ids);
    };
    check("text", false);
    check("skipped", true);
  }
}

TEST_P(TokenizerCase, StreamGivesTheSameText) {
  for (size_t index = 0; index < texts_.size(); ++index) {
    for (bool skip : {false, true}) {
      std::vector<int64_t> ids = expected_.at("ids")[index];
      std::string whole = tokenizer_->decode(ids, skip);
      StreamDecoder stream(tokenizer_, skip);
      std::string text;
      for (int64_t id : ids) {
        std::string part = stream.push(id);
        EXPECT_TRUE(is_valid_utf8(part));
        text += part;
      }
      text += stream.finish();
      if (GetParam() == "bert-files") {  // its cleanup removes blanks that were sent already
        std::erase(text, ' ');
        std::erase(whole, ' ');
      }
      EXPECT_EQ(text, whole) << "text " << index << ": " << tokens_of(*tokenizer_, ids);
    }
  }
}

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  if (fs::exists(kCases))
    for (const auto& entry : fs::directory_iterator(kCases))
      if (entry.is_directory()) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerCase, testing::ValuesIn(case_names()), [](const auto& info) {
  std::string name = info.param;
  for (char& letter : name)
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  return name;
});

}  // namespace
}  // namespace vlm
