#include "train/data/dataset.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "vlm/error.h"

namespace vlm::data {
namespace {

bool same(const Sample& a, const Sample& b) {
  if (a.image.pixels != b.image.pixels || a.turns.size() != b.turns.size()) return false;
  for (size_t i = 0; i < a.turns.size(); ++i) {
    if (a.turns[i].question != b.turns[i].question || a.turns[i].answer != b.turns[i].answer) return false;
  }
  return true;
}

TEST(Dataset, IsDeterministicAlsoInThreads) {
  std::vector<Sample> alone(24), shared(24);
  for (size_t i = 0; i < alone.size(); ++i) alone[i] = make_sample(7, i);
  std::vector<std::thread> threads;
  for (size_t first = 0; first < 4; ++first) {
    threads.emplace_back([&, first] {
      for (size_t i = first; i < shared.size(); i += 4) shared[i] = make_sample(7, i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_TRUE(same(alone[i], shared[i])) << i;
  EXPECT_FALSE(same(alone[0], alone[1]));
}

TEST(Dataset, SplitsDiffer) {
  DataOptions test;
  test.scene.split = Split::test;
  for (uint64_t i = 0; i < 20; ++i) EXPECT_FALSE(same(make_sample(7, i), make_sample(7, i, test)));
}

TEST(Dataset, WritesPicturesAndConversations) {
  std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "vlm_dataset_test";
  std::filesystem::remove_all(folder);
  DataOptions options;
  options.height = options.width = 48;
  make_dataset(folder, 5, 3, options);
  auto data = nlohmann::json::parse(read_text(folder / "data.json"));
  ASSERT_EQ(data.size(), 5U);
  for (size_t i = 0; i < data.size(); ++i) {
    Sample sample = make_sample(3, i, options);
    const auto& entry = data[i];
    EXPECT_EQ(read_image(folder / entry["image"].get<std::string>()).pixels, sample.image.pixels);
    const auto& conversations = entry["conversations"];
    ASSERT_EQ(conversations.size(), 2 * sample.turns.size());
    EXPECT_EQ(conversations[0]["value"], "<image>\n" + sample.turns[0].question);
    EXPECT_EQ(conversations[0]["from"], "human");
    EXPECT_EQ(conversations[1]["value"], sample.turns[0].answer);
    EXPECT_EQ(conversations[1]["from"], "gpt");
    EXPECT_EQ(entry["kinds"][0], sample.turns[0].kind);
  }
  std::filesystem::remove_all(folder);
}

TEST(Dataset, RefusesSenselessCounts) {
  try {
    make_dataset(testing::TempDir(), 0, 1);
    FAIL() << "made nothing";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("data set of 0 pictures"), std::string::npos) << error.what();
  }
}

TEST(Dataset, TextsForTheTokenizerHoldNoWordsToRead) {
  for (const std::string& text : make_texts(5, 200)) {
    EXPECT_EQ(text.find('"'), std::string::npos) << text;
    int64_t capitals = 0;
    for (char c : text) capitals += c >= 'A' && c <= 'Z';
    EXPECT_LE(capitals, 4) << text;
  }
}

}  // namespace
}  // namespace vlm::data
