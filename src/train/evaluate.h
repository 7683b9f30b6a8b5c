// Exact match on held-out questions, answered greedily.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "system/system.h"
#include "train/data/dataset.h"

namespace vlm {

struct ExactMatch {
  struct Count {
    int64_t right = 0, asked = 0;
    double share() const { return asked ? static_cast<double>(right) / static_cast<double>(asked) : 0.0; }
  };
  Count all;
  std::map<std::string, Count> by_kind;
  struct Answer {
    std::string kind, question, wanted, given;
  };
  std::vector<Answer> answers;
  std::string summary() const;  // "71.5 % (colour 90 %, count 55 %, ...)"
};

// One question about each of `count` scenes of the test split, sampled by `seed`.
ExactMatch evaluate_scenes(const Generator& model, const Tokenizer& tokenizer, const data::DataOptions& data,
                           int64_t count, uint64_t seed);

// Greedy answers, several sequences at a time; at most `longest` tokens each.
std::vector<std::string> answer_greedily(const Generator& model, const Tokenizer& tokenizer,
                                         const std::vector<Request>& requests, int64_t longest);

}  // namespace vlm
