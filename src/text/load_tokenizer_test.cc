#include <gtest/gtest.h>

#include <unistd.h>

#include "base/error.h"
#include "base/files.h"
#include "text/gguf_tokenizer.h"
#include "text/pipeline.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;

class LoadTokenizer : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("vlm_load_tokenizer_{}", getpid());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void put(const char* name, const std::string& text) { write_text(folder_ / name, text); }
  void expect_error(const std::string& part, ErrorKind kind = ErrorKind::bad_checkpoint) {
    try {
      load_tokenizer(folder_);
      ADD_FAILURE() << "accepted, wanted: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.message();
      EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
      EXPECT_FALSE(error.hint().empty());
    }
  }

  fs::path folder_;
};

const char* const kWords = R"({"version": "1.0", "added_tokens": [
    {"id": 9, "content": "<s>", "special": true, "normalized": false},
    {"id": 7, "content": "late", "special": false, "normalized": true}],
  "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "WhitespaceSplit"},
  "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {"<unk>": 0, "a": 1, "b": 2}}})";

TEST_F(LoadTokenizer, InfoComesFromTheFilesBeside) {
  put("tokenizer.json", kWords);
  put("tokenizer_config.json", R"({"tokenizer_class": "X", "bos_token": {"content": "<s>", "lstrip": false},
      "unk_token": "<unk>", "model_max_length": 1000000000000000019884624838656, "padding_side": "left"})");
  put("special_tokens_map.json", R"({"pad_token": "<pad>"})");
  put("generation_config.json", R"({"eos_token_id": [2, 1]})");
  auto loaded = load_tokenizer(folder_);
  EXPECT_EQ(loaded.info.tokenizer_class, "X");
  EXPECT_EQ(loaded.info.bos_id, 3);  // numbered behind the model's, whatever the file says
  EXPECT_EQ(loaded.info.eos_id, 2);
  EXPECT_EQ(loaded.info.eos_token, "b");
  EXPECT_EQ(loaded.info.unk_id, 0);
  EXPECT_EQ(loaded.info.pad_id, 5);  // stated nowhere else: added
  EXPECT_EQ(loaded.info.padding_side, "left");
  EXPECT_FALSE(loaded.info.model_max_length);
  EXPECT_EQ(loaded.tokenizer->vocab_size(), 6);
  EXPECT_TRUE(loaded.tokenizer->is_special(3));
  EXPECT_FALSE(loaded.tokenizer->is_special(4));
  EXPECT_EQ(loaded.tokenizer->id_to_token(4), "late");
  EXPECT_EQ(loaded.tokenizer->id_to_token(99), "");
  EXPECT_FALSE(loaded.tokenizer->token_to_id("nothing"));
  EXPECT_EQ(loaded.tokenizer->ids("A <s>b LATEc"), (std::vector<int64_t>{1, 3, 2, 4, 0}));
  EXPECT_EQ(loaded.tokenizer->ids("a\xff"), (std::vector<int64_t>{0}));
}

TEST_F(LoadTokenizer, AddedTokensOfTheConfigOverride) {
  put("tokenizer.json", kWords);
  put("tokenizer_config.json",
      R"({"added_tokens_decoder": {"3": {"content": "<s>", "special": true, "rstrip": true, "normalized": false}}})");
  auto tokenizer = load_tokenizer(folder_).tokenizer;
  EXPECT_EQ(tokenizer->decode(std::vector<int64_t>{3, 1, 2}, true), "a b");
  EXPECT_EQ(tokenizer->decode(std::vector<int64_t>{3, 1, 77, -5}, false), "<s> a");
}

TEST_F(LoadTokenizer, FilesAreRefusedByName) {
  expect_error("no tokenizer", ErrorKind::not_found);
  put("tokenizer.json", "{\"model\": ");
  expect_error("tokenizer.json: not valid JSON");
  put("tokenizer.json", R"({"model": 1e999})");
  expect_error("tokenizer.json: holds a number that is too large");
  put("tokenizer.json", "{}");
  expect_error("tokenizer.json: the key model is missing");
  put("tokenizer.json", R"({"model": {"type": "Magic"}})");
  expect_error("tokenizer.json: model: the model Magic is not known", ErrorKind::unsupported);
  put("tokenizer.json", R"({"version": "2.0", "model": {"type": "WordLevel", "vocab": {}}})");
  expect_error("version = \"2.0\" is not implemented", ErrorKind::unsupported);
  put("tokenizer.json", R"({"model": {"type": "WordLevel", "vocab": {"a": 4000000000}}})");
  expect_error("model.vocab: the token \"a\" has the id 4000000000");
  put("tokenizer.json", R"({"model": {"type": "WordLevel", "vocab": {"a": -1}}})");
  expect_error("has the id -1");
  put("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}})");
  expect_error("needs the token \"ab\"");
  put("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a a"]}})");
  expect_error("model.merges: expected two tokens with one blank");
  put("tokenizer.json", R"({"model": {"type": "BPE", "dropout": 0.1, "vocab": {"a": 0}, "merges": []}})");
  expect_error("dropout is not implemented", ErrorKind::unsupported);
  put("tokenizer.json", R"({"model": {"type": "Unigram", "unk_id": 3, "vocab": [["a", 0]]}})");
  expect_error("unk_id is 3, but there are 1 pieces");
  put("tokenizer.json", R"({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA/w=="},
      "model": {"type": "WordLevel", "vocab": {}}})");
  expect_error("precompiled_charsmap has 4 bytes, its trie claims");
  put("tokenizer.json",
      R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"},
      "model": {"type": "WordLevel", "vocab": {}}})");
  expect_error("pre_tokenizer.pattern.Regex: the pattern ( is not understood");
  put("tokenizer.json", R"({"post_processor": {"type": "TemplateProcessing", "pair": [], "special_tokens": {},
      "single": [{"SpecialToken": {"id": "<s>"}}]}, "model": {"type": "WordLevel", "vocab": {}}})");
  expect_error("the special token \"<s>\" is missing in special_tokens");
  std::string nested = "{\"type\": \"NFC\"}";
  for (int depth = 0; depth < 30; ++depth)
    nested = "{\"type\": \"Sequence\", \"normalizers\": [" + nested + "]}";
  put("tokenizer.json",
      "{\"normalizer\": " + nested + ", \"model\": {\"type\": \"WordLevel\", \"vocab\": {}}}");
  expect_error("normalizers nested deeper than");
}

TEST_F(LoadTokenizer, OtherFormatsAreRefusedByName) {
  put("x.tiktoken", "not base64 at all\n");
  expect_error("x.tiktoken line 1");
  put("vocab.txt", "a\nb\n");
  expect_error("vocab.txt: the token \"[CLS]\" is missing");
  put("vocab.json", "[1]");
  put("merges.txt", "");
  expect_error("vocab.json: expected an object");
  put("vocab.json", R"({"a": 0})");
  put("merges.txt", "#version: 0.2\na\n");
  expect_error("merges.txt line 2");
  put("tokenizer.model", "\x0a\x7f\x01");
  expect_error("tokenizer.model: not a SentencePiece model");
  put("tokenizer.model", "");
  expect_error("tokenizer.model: holds no pieces");
  put("tokenizer.model", std::string("\x0a\x05\x0a\x01\x61\x18\x01", 7));
  expect_error("no piece is of the type unknown");
}

TEST_F(LoadTokenizer, AWordWithoutUnknownTokenIsAnError) {
  put("tokenizer.json", R"({"model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {"a": 0}}})");
  auto tokenizer = load_tokenizer(folder_).tokenizer;
  EXPECT_EQ(tokenizer->ids("a"), (std::vector<int64_t>{0}));
  try {
    tokenizer->ids("b");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("the unk_token \"<unk>\" is not in the vocabulary"), std::string::npos);
  }
}

TEST(GgufTokenizers, ListsThatDoNotFitAreRefused) {
  auto expect = [](const GgufTokenizer& values, const std::string& part) {
    try {
      tokenizer_from_gguf(values);
      ADD_FAILURE() << part;
    } catch (const Error& error) {
      EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
    }
  };
  GgufTokenizer values;
  values.model = "llama";
  expect(values, "tokenizer.ggml.tokens has 0 entries");
  values.tokens = {"<unk>", "a"};
  expect(values, "tokenizer.ggml.scores has 0 entries");
  values.scores = {0, 0};
  values.token_types = {2};
  expect(values, "tokenizer.ggml.token_type has 1 entries");
  values.token_types = {2, 9};
  expect(values, "holds 9");
  values.token_types = {2, 1};
  values.bos_id = 2;
  expect(values, "special token id 2 is out of range");
  values.bos_id.reset();
  values.model = "rwkv";
  expect(values, "\"rwkv\" is not implemented");
  values.model = "gpt2";
  values.pre = "new";
  expect(values, "tokenizer.ggml.pre = \"new\" is not known");
}

TEST(Stream, UnfinishedBytesWaitAndNeverForever) {
  std::string vocabulary;
  for (int byte = 0; byte < 256; ++byte)
    vocabulary += fmt::format("{}\"<0x{:02X}>\":{}", byte > 0 ? "," : "", byte, byte);
  auto tokenizer = make_tokenizer(
      read_tokenizer_json(Json::parse("{\"decoder\": {\"type\": \"ByteFallback\"}, \"model\": {\"type\": "
                                      "\"BPE\", \"byte_fallback\": true, \"vocab\": {" +
                                          vocabulary + "}, \"merges\": []}}",
                                      "tokenizer.json")));
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.push(0x61), "a");
  EXPECT_EQ(stream.push(0xf0), "");
  EXPECT_EQ(stream.push(0x9f), "");
  EXPECT_EQ(stream.push(0x98), "");
  EXPECT_EQ(stream.push(0x80), "\U0001f600");
  EXPECT_EQ(stream.push(0xe2), "");
  EXPECT_EQ(stream.finish(), "\ufffd");
  std::string text;
  for (int count = 0; count < 300; ++count) text += stream.push(0xff);
  EXPECT_GT(text.size(), 3 * 250u);
}

}  // namespace
}  // namespace vlm
