// The tokenizers of the reference cases of whole systems: where a case is text alone, its input_ids are ours.

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "text/tokenizer.h"

namespace vlm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The tensor `input_ids` of a safetensors file as rows; empty when there is none.
std::vector<std::vector<int64_t>> read_input_ids(const fs::path& path) {
  std::string file = read_text(path);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  json header = json::parse(file.substr(8, header_bytes));
  if (!header.contains("input_ids")) return {};
  const json& entry = header["input_ids"];
  size_t columns = entry["shape"].back();
  size_t begin = 8 + header_bytes + entry["data_offsets"][0].get<size_t>();
  size_t end = 8 + header_bytes + entry["data_offsets"][1].get<size_t>();
  std::vector<std::vector<int64_t>> rows;
  for (; begin < end; begin += columns * sizeof(int64_t)) {
    rows.emplace_back(columns);
    std::memcpy(rows.back().data(), file.data() + begin, columns * sizeof(int64_t));
  }
  return rows;
}

// The row's ids without its padding, cut to `most` tokens the way its reference truncates.
void expect_row(const std::vector<int64_t>& row, std::vector<int64_t> ids, const std::string& what) {
  if (ids.size() > row.size()) {  // truncated in front of the last special token
    ids[row.size() - 1] = ids.back();
    ids.resize(row.size());
  }
  for (size_t at = ids.size(); at < row.size(); ++at) EXPECT_EQ(row[at], row.back()) << what << ": padding";
  EXPECT_EQ(std::vector<int64_t>(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(ids.size())), ids)
      << what;
}

TEST(TokenizerCheckpoints, TextCasesHaveTheReferencesIds) {
  fs::path cases = fs::path(VLM_SOURCE_DIR) / "tests" / "cases";
  int checked = 0;
  for (const auto& entry : fs::directory_iterator(cases)) {
    fs::path folder = entry.path();
    if (!fs::exists(folder / "case.json") || !fs::exists(folder / "expected.safetensors")) continue;
    // Vocabularies inside GGUF are another room's: tests/cases_test.cc compares their ids.
    if (fs::exists(folder / "checkpoint" / "model.gguf")) continue;
    json inputs = json::parse(read_text(folder / "case.json")).at("inputs");
    std::string name = folder.filename().string();
    bool is_text_model = name.starts_with("block-") && inputs.contains("prompt");
    bool is_dual_encoder = inputs.contains("texts") && !inputs.contains("text_pairs");
    if (!is_text_model && !is_dual_encoder) continue;
    auto rows = read_input_ids(folder / "expected.safetensors");
    if (rows.empty()) continue;
    auto loaded = load_tokenizer(folder / "checkpoint");
    std::vector<std::string> texts = is_text_model ? std::vector<std::string>{inputs["prompt"]}
                                                   : inputs["texts"].get<std::vector<std::string>>();
    ASSERT_EQ(texts.size(), rows.size()) << name;
    for (size_t index = 0; index < texts.size(); ++index)
      expect_row(rows[index], loaded.tokenizer->ids(texts[index]), name + ": " + texts[index]);
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

}  // namespace
}  // namespace vlm
