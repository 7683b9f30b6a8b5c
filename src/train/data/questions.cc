#include "train/data/questions.h"

#include <algorithm>
#include <array>
#include <set>

#include "train/data/asker.h"

namespace vlm::data {
namespace {

using Kind = std::optional<Draft> (Asker::*)();
struct Weighted {
  Kind kind;
  double shapes, texts, emoji;  // weights in scenes of shapes only, with texts, with emoji
};
constexpr std::array<Weighted, 10> kinds = {{
    {&Asker::colour, 1.1, 0.9, 0},
    {&Asker::shape, 1.1, 0.5, 0},
    {&Asker::size, 0.9, 0.2, 0},
    {&Asker::count, 1.4, 0.2, 0},
    {&Asker::position, 1.3, 0.4, 0},
    {&Asker::existence, 1.2, 0.5, 0},
    {&Asker::relation, 1.4, 0.2, 0},
    {&Asker::comparison, 1.4, 0.2, 0},
    {&Asker::reading, 0, 3, 0},
    {&Asker::emoji, 0, 0, 4},
}};

}  // namespace

std::vector<Turn> ask(const Scene& scene, uint64_t seed, const QuestionOptions& options) {
  Rng rng(seed);
  Asker asker(scene, rng);
  std::vector<Turn> turns;
  std::set<std::string> asked;
  auto add = [&](const std::optional<Draft>& draft) {
    if (draft && asked.insert(draft->turn.kind + draft->key).second) turns.push_back(draft->turn);
  };
  std::vector<double> weights;
  for (const Weighted& kind : kinds) {
    double weight = !scene.texts.empty() ? kind.texts : !scene.pictures.empty() ? kind.emoji : kind.shapes;
    bool is_hard =
        kind.kind == &Asker::count || kind.kind == &Asker::relation || kind.kind == &Asker::comparison;
    weights.push_back(is_hard ? weight * options.hard_weight : weight);
  }
  for (int64_t attempt = 0; attempt < options.turns * 4; ++attempt) {
    if (static_cast<int64_t>(turns.size()) >= options.turns) break;
    double special = rng.uniform();
    if (special < options.chat_share) {
      if (attempt < options.turns) add(asker.chat());
    } else if (special < options.chat_share + options.caption_share) {
      add(asker.caption());
    } else {
      // Some kinds seldom find something to ask: without further tries they would be rare.
      Kind kind = kinds[static_cast<size_t>(rng.weighted(weights))].kind;
      std::optional<Draft> draft;
      for (int retry = 0; retry < 6 && !draft; ++retry) draft = (asker.*kind)();
      add(draft);
    }
  }
  return turns;
}

}  // namespace vlm::data
