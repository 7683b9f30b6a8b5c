// The cards themselves are tested here: they are data that people type.
#include "app/cli/catalogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/files.h"

namespace vlm::cli {
namespace {

std::map<std::string, std::string> card_files() {
  std::map<std::string, std::string> texts;  // slug -> file
  for (const auto& entry : std::filesystem::directory_iterator(VLM_SOURCE_DIR "/catalog")) {
    if (entry.path().extension() == ".toml") texts[entry.path().stem().string()] = read_text(entry.path());
  }
  return texts;
}

template <typename Body>
std::string message_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

size_t longest_line(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  size_t longest = 0;
  while (std::getline(lines, line)) longest = std::max(longest, line.size());
  return longest;
}

std::string works(const std::string& slug) {
  return slug == "llava" ? "works" : "2 of 3 cases";
}

TEST(Cards, EverySystemOfTheListHasOneCard) {
  std::map<std::string, std::string> files = card_files();
  EXPECT_EQ(files.size(), 70u);
  std::set<int> numbers;
  for (const auto& [slug, text] : files) {
    Card card = parse_card(text, slug + ".toml");
    EXPECT_EQ(card.slug, slug);
    EXPECT_TRUE(numbers.insert(card.number).second) << slug << " repeats number " << card.number;
  }
  EXPECT_EQ(*numbers.begin(), 1);
  EXPECT_EQ(*numbers.rbegin(), 70);
}

TEST(Cards, TheProgramHoldsTheFilesUnchanged) {
  std::map<std::string, std::string> files = card_files();
  EXPECT_EQ(embedded_cards().size(), files.size());
  for (const EmbeddedCard& card : embedded_cards())
    EXPECT_EQ(files[std::string(card.slug)], card.text) << card.slug;
}

TEST(Cards, UseKnownWords) {
  const std::set<std::string> families = {
      "blip",   "clip",  "cogvlm",    "deepseek-vl", "flamingo",  "florence-2",
      "frozen", "fuyu",  "grounding", "idefics",     "imagebind", "internlm-xcomposer",
      "kosmos", "lavin", "llava",     "minicpm-v",   "minigpt",   "moondream",
      "ofa",    "pali",  "palm-e",    "qwen",        "sphinx",    "vit",
      "vita"};
  const std::set<std::string> tasks = {"generate", "embed", "classify", "detect", "segment"};
  const std::set<std::string> inputs = {"text", "image", "images", "video",   "audio", "point",
                                        "box",  "mask",  "depth",  "thermal", "imu",   "state"};
  std::set<std::string> fusion_names;
  for (const Fusion& fusion : fusions()) fusion_names.emplace(fusion.name);
  std::set<std::string> slugs, used_fusions, used_families;
  for (const Card& card : all_cards()) slugs.insert(card.slug);
  for (const Card& card : all_cards()) {
    SCOPED_TRACE(card.slug);
    EXPECT_TRUE(families.count(card.family)) << card.family;
    EXPECT_TRUE(fusion_names.count(card.fusion)) << card.fusion;
    EXPECT_FALSE(card.tasks.empty());
    EXPECT_FALSE(card.inputs.empty());
    for (const std::string& task : card.tasks) EXPECT_TRUE(tasks.count(task)) << task;
    for (const std::string& input : card.inputs) EXPECT_TRUE(inputs.count(input)) << input;
    if (!card.base.empty()) {
      EXPECT_TRUE(slugs.count(card.base) && card.base != card.slug) << card.base;
    }
    EXPECT_TRUE(card.year >= 2020 && card.year <= 2026) << card.year;
    used_fusions.insert(card.fusion);
    used_families.insert(card.family);
  }
  EXPECT_EQ(used_fusions, fusion_names);
  EXPECT_EQ(used_families, families);
}

TEST(Cards, AddressesAndHubIdsAreWellFormed) {
  const std::regex address(R"(https://[a-z0-9.-]+(/[A-Za-z0-9._~/-]*)?)");
  const std::regex arxiv(R"(https://arxiv\.org/abs/\d{4}\.\d{5})");
  const std::regex hub_id(R"([A-Za-z0-9_-]+/[A-Za-z0-9._-]+)");
  for (const Card& card : all_cards()) {
    SCOPED_TRACE(card.slug);
    EXPECT_FALSE(card.paper.empty() && card.page.empty() && card.code.empty());
    if (!card.paper.empty()) {
      EXPECT_TRUE(std::regex_match(card.paper, arxiv)) << card.paper;
    }
    for (const std::string& text : {card.page, card.code}) {
      EXPECT_TRUE(text.empty() || std::regex_match(text, address)) << text;
    }
    for (const std::string& id : card.weights) EXPECT_TRUE(std::regex_match(id, hub_id)) << id;
    EXPECT_FALSE(card.weights.empty() && card.weights_note.empty()) << "say where the weights are";
    EXPECT_EQ(std::set<std::string>(card.weights.begin(), card.weights.end()).size(), card.weights.size());
  }
}

TEST(Cards, AreComplete) {
  for (const Card& card : all_cards()) {
    SCOPED_TRACE(card.slug);
    EXPECT_NE(card.flow.find(" -> "), std::string::npos);
    EXPECT_FALSE(card.unusual.empty());
    EXPECT_EQ(card.language.empty(), card.fusion == "classifier");
    EXPECT_EQ(card.tagline.back(), '.');
    for (const std::string& note : card.unusual) EXPECT_EQ(note.back(), '.') << note;
    // Only a system that uses the weights of another may come without training.
    EXPECT_FALSE(card.stages.empty() && card.base.empty());
    EXPECT_EQ(card.datasets.empty(), card.stages.empty());
  }
}

TEST(Cards, AreFactsWithoutStatusInPlainAscii) {
  for (const auto& [slug, text] : card_files()) {
    SCOPED_TRACE(slug);
    EXPECT_EQ(text.find("status"), std::string::npos);
    EXPECT_TRUE(std::all_of(text.begin(), text.end(),
                            [](char letter) { return letter == '\n' || (letter >= ' ' && letter <= '~'); }));
    size_t lines = std::count(text.begin(), text.end(), '\n');
    EXPECT_TRUE(lines >= 25 && lines <= 60) << lines << " lines";
  }
}

TEST(ParseCard, NamesTheFileAndWhatIsWrong) {
  std::string good = card_files().at("clip");
  auto message = [&](const std::string& from, const std::string& to) {
    return message_of([&] { parse_card(replaced(good, from, to), "clip.toml"); });
  };
  EXPECT_EQ(message_of([&] { parse_card(good, "clip.toml"); }), "no error");
  EXPECT_NE(message("slug = ", "slog = ").find("clip.toml: slug must be text, and is missing"),
            std::string::npos);
  EXPECT_NE(message("year = 2021", "year = \"2021\"").find("year must be a whole number"), std::string::npos);
  EXPECT_NE(message("kind = ", "sort = 1\nkind = ").find("unknown key connector.sort"), std::string::npos);
  EXPECT_NE(message("[vision]", "[eye]").find("the table [vision] is missing"), std::string::npos);
  EXPECT_NE(message("tasks = [\"embed\"", "tasks = [1").find("clip.toml: "), std::string::npos);
  EXPECT_NE(message("number = 64", "number = ").find("clip.toml: line 2: "), std::string::npos);
}

TEST(FindCard, TakesSlugNameAndHubIdInAnyCase) {
  EXPECT_EQ(find_card("llava-1.5").number, 2);
  EXPECT_EQ(find_card("LLaVA-1.5").number, 2);
  EXPECT_EQ(find_card("LLaVA-1.6 (LLaVA-NeXT)").slug, "llava-1.6");
  EXPECT_EQ(find_card("qwen/qwen2-vl-2b-instruct").slug, "qwen2-vl");
  std::string message = message_of([] { find_card("florence2"); });
  EXPECT_NE(message.find("no system is called florence2"), std::string::npos);
  EXPECT_NE(message.find("did you mean florence-2?"), std::string::npos);
  EXPECT_NE(message_of([] { find_card("a system nobody made"); }).find("vlm list"), std::string::npos);
}

TEST(ListText, HasOneLineForEachSystemInTheOrderOfTheList) {
  std::string text = list_text({}, nullptr);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 72);  // a heading and a legend
  EXPECT_LT(text.find(" 1  llava "), text.find("70  vit "));
  EXPECT_EQ(text.find("status"), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_LE(longest_line(text), 80u);
  EXPECT_LE(longest_line(list_text({}, works)), 80u);
}

TEST(ListText, ShowsTheStatusThatItIsTold) {
  std::string text = list_text({.colour = true}, works);
  EXPECT_NE(text.find("\x1b[32mworks\x1b[0m"), std::string::npos);
  EXPECT_NE(text.find("\x1b[33m2 of 3 cases\x1b[0m"), std::string::npos);
}

TEST(ListText, KeepsSystemsThatHoldAllWords) {
  std::string text = list_text({}, nullptr, {"segment", "2023"});
  EXPECT_NE(text.find("glamm"), std::string::npos);
  EXPECT_NE(text.find("pali-3"), std::string::npos);
  EXPECT_EQ(text.find("paligemma"), std::string::npos);
  EXPECT_EQ(text.find("llava-1.5"), std::string::npos);
  EXPECT_NE(list_text({}, nullptr, {"Mixtral"}).find("vita"), std::string::npos);
  std::string message = message_of([] { list_text({}, nullptr, {"segment", "banana"}); });
  EXPECT_NE(message.find("none of the 70 systems has all of: segment, banana"), std::string::npos);
}

TEST(CardText, KeepsToTheWidthOfTheTerminal) {
  for (int width : {80, 100, 50}) {
    for (const Card& card : all_cards()) {
      // A single word (an address, a hub id) may be longer; all else is wrapped.
      std::istringstream lines(card_text(card, {.colour = false, .width = width}, works));
      std::string line;
      bool first = true;
      while (std::getline(lines, line)) {
        bool one_word = line.find(' ', line.find_first_not_of(' ', 11)) == std::string::npos;
        if (!first && !one_word) {
          EXPECT_LE(line.size(), static_cast<size_t>(width)) << card.slug << ": " << line;
        }
        first = false;
      }
    }
  }
}

TEST(CardText, TellsWhatTheCardHolds) {
  std::string text = card_text(find_card("bakllava"), {.width = 100}, works);
  EXPECT_EQ(text.rfind("BakLLaVA  [bakllava]  2023  7.6B\n", 0), 0u);
  EXPECT_NE(text.find("status     2 of 3 cases\n"), std::string::npos);
  EXPECT_NE(text.find("graph      that of llava-1.5\n"), std::string::npos);
  EXPECT_NE(text.find("fusion     splice: image features"), std::string::npos);
  EXPECT_NE(text.find(" -> splice at <image> -> Mistral-7B"), std::string::npos);
  EXPECT_NE(text.find("training   1 alignment: trains projector on LCS-558K; 1 epoch"), std::string::npos);
  EXPECT_NE(text.find("SkunkworksAI/BakLLaVA-1"), std::string::npos);
}

TEST(CardText, GivesEveryBranchOfTheFlowALine) {
  std::string text = card_text(find_card("palm-e"), {}, nullptr);
  EXPECT_NE(text.find("\n  state vector -> MLP (1)\n  image 224 -> ViT -> affine"), std::string::npos)
      << text;
  EXPECT_EQ(text.find("status"), std::string::npos);
}

TEST(CardJson, HasTheKeysOfTheFileAndTheStatus) {
  nlohmann::ordered_json json = card_json(find_card("llava"), works);
  EXPECT_EQ(json.at("slug"), "llava");
  EXPECT_EQ(json.at("status"), "works");
  EXPECT_EQ(json.at("connector").at("kind"), "linear");
  EXPECT_EQ(json.at("training").at("stages").size(), 2u);
  EXPECT_FALSE(json.contains("base"));
  EXPECT_FALSE(card_json(find_card("vit"), nullptr).contains("language"));
  EXPECT_FALSE(card_json(find_card("vit"), nullptr).contains("status"));
  EXPECT_EQ(list_json(nullptr).size(), 70u);
}

}  // namespace
}  // namespace vlm::cli
