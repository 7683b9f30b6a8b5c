// Pictures with conversations, made from a seed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "media/image.h"
#include "train/data/questions.h"
#include "train/data/scene.h"

namespace vlm::data {

struct DataOptions {
  int64_t height = 112, width = 112;
  SceneOptions scene;  // its split: the splits share neither scenes nor words
  QuestionOptions questions;
};

struct Sample {
  Image image;
  std::vector<Turn> turns;  // never empty
};

// Equal arguments give equal samples; safe to call from several threads.
Sample make_sample(uint64_t seed, uint64_t index, const DataOptions& options = {});
// The turns without the drawing.
std::vector<Turn> make_turns(uint64_t seed, uint64_t index, const DataOptions& options = {});

// Questions and answers without the words to be read, from which a tokenizer is learnt: words to be read then
// stay single letters.
std::vector<std::string> make_texts(uint64_t seed, uint64_t count, const DataOptions& options = {});

// Writes `count` pictures and data.json, a list in LLaVA's format:
//   {"id", "image": "images/000000.png", "conversations": [{"from": "human", "value": "<image>\n..."},
//    {"from": "gpt", "value": "..."}, ...], "kinds": ["colour", ...]}
void make_dataset(const std::filesystem::path& folder, int64_t count, uint64_t seed,
                  const DataOptions& options = {});

}  // namespace vlm::data
