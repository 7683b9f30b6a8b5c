#include "train/bpe_trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "text/tokenizer.h"
#include "vlm/error.h"

namespace vlm {
namespace {

std::vector<std::string> corpus() {
  std::vector<std::string> texts;
  for (int i = 0; i < 20; ++i) {
    texts.insert(texts.end(), {"What color is the circle?", "What color is the square?", "the red circle",
                               "How many circles are there? 12 12 12", "USA USA USA"});
  }
  return texts;
}

class BpeTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / "vlm_bpe_test";
    std::filesystem::create_directories(folder_);
    vocabulary_ = train_bpe(corpus());
    write_llama_tokenizer(folder_, vocabulary_);
    tokenizer_ = load_tokenizer(folder_).tokenizer;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::vector<std::string> pieces(const std::string& text) {
    std::vector<std::string> result;
    for (int64_t id : tokenizer_->ids(text)) result.push_back(tokenizer_->id_to_token(id));
    return result;
  }

  const std::string mark_ = "\xE2\x96\x81";
  std::filesystem::path folder_;
  BpeVocabulary vocabulary_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_F(BpeTest, FrequentWordsAreOneToken) {
  EXPECT_EQ(pieces("What color is the circle?"),
            (std::vector<std::string>{"<s>", mark_ + "What", mark_ + "color", mark_ + "is", mark_ + "the",
                                      mark_ + "circle", "?"}));
}

TEST_F(BpeTest, CapitalsAndDigitsStayAlone) {
  EXPECT_EQ(pieces("USA 12"), (std::vector<std::string>{"<s>", mark_, "U", "S", "A", mark_, "1", "2"}));
}

TEST_F(BpeTest, RolesAreOneTokenAndTouchNoOtherWord) {
  EXPECT_EQ(pieces("USER: x ASSISTANT:"),
            (std::vector<std::string>{"<s>", mark_ + "USER:", mark_, "x", mark_ + "ASSISTANT:"}));
  EXPECT_EQ(pieces("USER"), (std::vector<std::string>{"<s>", mark_, "U", "S", "E", "R"}));
}

TEST_F(BpeTest, UnknownCharactersBecomeBytesAndComeBack) {
  std::string text = "the \xC3\xA9\n\"x\"";
  EXPECT_EQ(tokenizer_->decode(tokenizer_->ids(text)), text);
}

TEST_F(BpeTest, SpecialTokensHaveTheirIds) {
  EXPECT_EQ(tokenizer_->token_to_id("<image>"), vocabulary_.image_id);
  EXPECT_EQ(tokenizer_->token_to_id("<pad>"), vocabulary_.pad_id);
  EXPECT_EQ(tokenizer_->token_to_id("</s>"), 2);
  EXPECT_EQ(tokenizer_->vocab_size(), static_cast<int64_t>(vocabulary_.tokens.size()));
  TokenizerInfo info = load_tokenizer(folder_).info;
  EXPECT_EQ(info.bos_id, 1);
  EXPECT_EQ(info.pad_id, vocabulary_.pad_id);
}

TEST(Bpe, KeepsToItsSizeAndRefusesTooSmallOnes) {
  EXPECT_LE(train_bpe(corpus(), {.vocab_size = 390}).tokens.size(), 390U);
  try {
    train_bpe(corpus(), {.vocab_size = 100});
    FAIL() << "made a vocabulary of 100";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("a vocabulary of 100 tokens"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace vlm
