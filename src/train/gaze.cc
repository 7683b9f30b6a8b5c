#include "train/gaze.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace vlm {

namespace {

using data::Look;
using data::Thing;

struct Characters {
  size_t begin = 0, end = 0;
  bool overlaps(size_t first, size_t behind) const { return begin < behind && first < end; }
};

std::string spelling(const std::string& token) {
  if (token.size() == 6 && token.starts_with("<0x"))
    return {static_cast<char>(std::stoi(token.substr(3, 2), nullptr, 16))};
  static const std::string kSpace = "\xe2\x96\x81";  // SentencePiece's
  std::string text;
  for (size_t at = 0; at < token.size();) {
    bool is_space = token.compare(at, kSpace.size(), kSpace) == 0;
    text += is_space ? ' ' : token[at];
    at += is_space ? kSpace.size() : 1;
  }
  return text;
}

// Where each token stands in the prompt's text; nowhere for copies of a placeholder and added spaces.
std::vector<Characters> characters_of(const Prompt& prompt, const Tokenizer& tokenizer) {
  std::vector<Characters> all;
  size_t at = 0;
  for (int64_t id : prompt.ids) {
    std::string text = spelling(tokenizer.id_to_token(id));
    if (text.starts_with(" ") && prompt.text.compare(at, 1, " ") != 0) text.erase(0, 1);
    bool fits = !text.empty() && prompt.text.compare(at, text.size(), text) == 0;
    all.push_back({at, fits ? at + text.size() : at});
    at = all.back().end;
  }
  return all;
}

// The positions that mean the things: letters share one set, everything else has its own.
std::vector<Gaze::Target> targets_of(const std::vector<Thing>& things, bool counts,
                                     const ScenePatches& patches, int64_t first_patch) {
  // The share that nothing gets among n things tells their number best where n is about this.
  constexpr double kNothingAmongThings = 3;
  std::vector<Gaze::Target> targets;
  constexpr int64_t kNothing = 0;  // where every text begins, and no thing is
  std::vector<int64_t> letters;
  for (const Thing& thing : things) {
    auto index = static_cast<size_t>(thing.index);
    if (thing.kind == Thing::Kind::letter) {
      int64_t patch = patches.letters[index][static_cast<size_t>(thing.letter)];
      if (patch >= 0) letters.push_back(first_patch + patch);
      continue;
    }
    const PatchesOfThing& shown =
        thing.kind == Thing::Kind::object ? patches.objects[index] : patches.pictures[index];
    std::vector<int64_t> positions;
    if (counts) {
      positions.push_back(first_patch + shown.centre);
    } else {
      for (int64_t patch : shown.all) positions.push_back(first_patch + patch);
    }
    if (!positions.empty()) targets.push_back({std::move(positions)});
  }
  std::sort(letters.begin(), letters.end());
  letters.erase(std::unique(letters.begin(), letters.end()), letters.end());
  if (!letters.empty()) targets.push_back({std::move(letters)});
  if (things.empty() || counts) targets.push_back({{kNothing}, kNothingAmongThings});
  double sum = 0;
  for (const Gaze::Target& target : targets) sum += target.share;
  for (Gaze::Target& target : targets) target.share /= sum;
  return targets;
}

class Reader {
 public:
  Reader(const Prompt& prompt, const Tokenizer& tokenizer, const ScenePatches& patches)
      : prompt_(prompt), patches_(patches), tokens_(characters_of(prompt, tokenizer)) {}

  std::vector<Gaze> run(const std::vector<data::Turn>& turns) {
    size_t at = 0;
    for (const data::Turn& turn : turns) {
      size_t answer = at;
      while (answer < tokens_.size() && prompt_.labels[answer] == kIgnore) ++answer;
      if (answer == tokens_.size()) break;
      size_t end = answer;
      while (end < tokens_.size() && prompt_.labels[end] != kIgnore) ++end;
      size_t question_text = prompt_.text.find(turn.question, tokens_[at].begin);
      size_t answer_text = prompt_.text.find(turn.answer, tokens_[answer].begin);
      bool is_found = answer_text != std::string::npos && question_text != std::string::npos;
      VLM_CHECK(is_found, "the turn \"{}\" in its own prompt", turn.question);
      std::vector<std::pair<const Look*, int64_t>> phrases;
      for (const Look& look : turn.looks)
        if (!look.in_answer)
          phrases.emplace_back(&look, look_behind(look, question_text + look.end, at, answer));
      bool is_pair =
          std::any_of(turn.looks.begin(), turn.looks.end(), [](const Look& look) { return look.is_second; });
      for (const Look& look : turn.looks) {
        if (!look.in_answer) continue;
        int64_t phrase = -1;
        for (const auto& [other, row] : phrases)
          if (is_pair && other->things == look.things) phrase = row;
        look_along(look, answer_text, answer, end, phrase);
      }
      if (is_pair && phrases.size() == 2) look_back(std::minmax(phrases[0].second, phrases[1].second));
      at = end;
    }
    return finish();
  }

 private:
  // What the looks of one token and head mean together.
  struct Meaning {
    std::vector<Thing> things;
    bool counts = false;
    int64_t phrase = -1;  // a position that has seen them as well
    int64_t rows = 1;     // that look because of the same words
  };
  struct Key {
    int64_t row;
    bool in_answer, is_second;
    auto operator<=>(const Key&) const = default;
  };

  void look_along(const Look& look, size_t text, size_t first, size_t behind, int64_t phrase) {
    std::vector<Meaning*> meanings;
    for (size_t at = std::max<size_t>(first, 1); at < behind; ++at) {
      if (!tokens_[at].overlaps(text + look.begin, text + look.end)) continue;
      meanings.push_back(&add(at - 1, look));
      meanings.back()->phrase = phrase;
    }
    for (Meaning* meaning : meanings) meaning->rows = static_cast<int64_t>(meanings.size());
  }

  // Where the answers look, one layer after the phrases have seen what they mean.
  void look_back(std::pair<int64_t, int64_t> phrases) {
    auto [first, second] = phrases;
    if (first >= 0 && first < second)
      backward_.push_back({.row = second, .in_answer = true, .targets = {{{first}}}});
  }

  // From a phrase's last token, which has seen the whole phrase; returns its position.
  int64_t look_behind(const Look& look, size_t end, size_t first, size_t behind) {
    for (size_t at = first; at < behind; ++at) {
      if (!tokens_[at].overlaps(end - 1, end)) continue;
      add(at, look);
      return static_cast<int64_t>(at);
    }
    return -1;
  }

  Meaning& add(size_t row, const Look& look) {
    Meaning& meaning = meanings_[{static_cast<int64_t>(row), look.in_answer, look.is_second}];
    meaning.things.insert(meaning.things.end(), look.things.begin(), look.things.end());
    meaning.counts = meaning.counts || look.counts;
    return meaning;
  }

  std::vector<Gaze> finish() const {
    std::vector<Gaze> gazes = backward_;
    for (const auto& [key, meaning] : meanings_) {
      Gaze gaze{.row = key.row, .in_answer = key.in_answer, .is_second = key.is_second};
      gaze.targets = targets_of(meaning.things, meaning.counts, patches_, prompt_.media.front().begin);
      if (meaning.phrase >= 0) {
        Gaze::Target all{{meaning.phrase}};
        for (const Gaze::Target& target : gaze.targets)
          all.positions.insert(all.positions.end(), target.positions.begin(), target.positions.end());
        gaze.targets = {all};
      }
      // Long answers would else outweigh the others.
      gaze.weight = 1 / std::sqrt(static_cast<double>(meaning.rows));
      if (!gaze.targets.empty()) gazes.push_back(std::move(gaze));
    }
    return gazes;
  }

  const Prompt& prompt_;
  const ScenePatches& patches_;
  std::vector<Characters> tokens_;
  std::map<Key, Meaning> meanings_;
  std::vector<Gaze> backward_;
};

}  // namespace

std::vector<Gaze> gazes_of(const Prompt& prompt, const Tokenizer& tokenizer,
                           const std::vector<data::Turn>& turns, const ScenePatches& patches) {
  if (prompt.media.empty()) return {};
  return Reader(prompt, tokenizer, patches).run(turns);
}

GazeLoss gaze_loss(const QueriesAndKeys& layer, const std::vector<int64_t>& lengths,
                   const std::vector<std::vector<const Gaze*>>& gazes) {
  constexpr float kNever = -1e9f;
  int64_t heads = layer.query.size(1), groups = layer.key.size(1), width = layer.query.size(2), begin = 0;
  double total = 0;
  GazeLoss result;
  for (size_t sequence = 0; sequence < lengths.size(); begin += lengths[sequence], ++sequence) {
    int64_t length = lengths[sequence];
    const std::vector<const Gaze*>& wanted = gazes[sequence];
    if (wanted.empty()) continue;
    std::vector<int64_t> rows, shared, begins, looks, target_looks;
    std::vector<float> weights;
    int64_t count = static_cast<int64_t>(wanted.size()), targets = 0;
    for (const Gaze* gaze : wanted) targets += static_cast<int64_t>(gaze->targets.size());
    Tensor outside_GL = at::full({targets, length}, kNever);
    double best = 0;
    for (const Gaze* gaze : wanted) {
      for (const Gaze::Target& target : gaze->targets) {
        float* row = outside_GL.data_ptr<float>() + static_cast<int64_t>(target_looks.size()) * length;
        for (int64_t position : target.positions) row[position] = 0;
        target_looks.push_back(static_cast<int64_t>(rows.size()));
        weights.push_back(static_cast<float>(gaze->weight * target.share));
        best -= gaze->weight * target.share * std::log(target.share);
      }
      total += gaze->weight;
      looks.push_back((gaze->is_second && heads > 1 ? count : 0) + static_cast<int64_t>(rows.size()));
      rows.push_back(gaze->row);
      shared.push_back(gaze->shared);
      begins.push_back(gaze->begin);
    }
    std::vector<Tensor> scores;
    Tensor positions_R = ids_tensor(rows);
    Tensor query_RAE = layer.query.index_select(0, positions_R + begin);
    for (int64_t head = 0; head < std::min<int64_t>(heads, 2); ++head) {
      Tensor key_LE = layer.key.narrow(0, begin, length).select(1, head * groups / heads);
      scores.push_back(at::matmul(query_RAE.select(1, head), key_LE.t()));
    }
    Tensor score_RL =
        at::cat(scores).index_select(0, ids_tensor(looks)) / std::sqrt(static_cast<double>(width));
    Tensor key_1L = at::arange(length).unsqueeze(0);
    auto column = [](const std::vector<int64_t>& values) { return ids_tensor(values).unsqueeze(1); };
    Tensor hidden_RL = key_1L.ge(column(shared)).logical_and(key_1L.lt(column(begins)));
    hidden_RL = hidden_RL.logical_or(key_1L > positions_R.unsqueeze(1));
    Tensor share_RL = at::log_softmax(score_RL.masked_fill(hidden_RL, kNever), 1);
    Tensor reached_G = at::logsumexp(share_RL.index_select(0, ids_tensor(target_looks)) + outside_GL, {1});
    Tensor loss = -(reached_G * at::tensor(weights)).sum() - best;
    result.loss = result.loss.defined() ? result.loss + loss : loss;
    result.mass += reached_G.detach().exp().sum().item<double>();
    result.count += count;
  }
  if (result.count > 0) result.loss = result.loss / total;
  return result;
}

}  // namespace vlm
