#include "train/data/dataset.h"

#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/parallel.h"

namespace vlm::data {
namespace {

struct Plan {
  Scene scene;
  std::vector<Turn> turns;
};

Plan plan(uint64_t seed, uint64_t index, const DataOptions& options) {
  uint64_t split = options.scene.split == Split::test ? 0x7E57 : 0;
  Rng rng(mix_bits(mix_bits(seed ^ split << 40) + index));
  while (true) {
    Plan result;
    result.scene = sample_scene(rng.next(), options.scene);
    result.turns = ask(result.scene, rng.next(), options.questions);
    if (!result.turns.empty()) return result;
  }
}

}  // namespace

Sample make_sample(uint64_t seed, uint64_t index, const DataOptions& options) {
  Plan made = plan(seed, index, options);
  return {draw(made.scene, options.height, options.width), std::move(made.turns)};
}

std::vector<Turn> make_turns(uint64_t seed, uint64_t index, const DataOptions& options) {
  return plan(seed, index, options).turns;
}

std::vector<std::string> make_texts(uint64_t seed, uint64_t count, const DataOptions& options) {
  std::vector<std::string> texts;
  for (uint64_t index = 0; index < count; ++index) {
    for (const Turn& turn : make_turns(seed, index, options)) {
      bool quotes =
          turn.question.find('"') != std::string::npos || turn.answer.find('"') != std::string::npos;
      if (quotes) continue;
      texts.push_back(turn.question);
      if (turn.kind != "reading") texts.push_back(turn.answer);
    }
  }
  return texts;
}

void make_dataset(const std::filesystem::path& folder, int64_t count, uint64_t seed,
                  const DataOptions& options) {
  if (count < 1 || count > 10'000'000) {
    fail(ErrorKind::bad_request, "ask for 1 to 10000000 pictures", "cannot make a data set of {} pictures",
         count);
  }
  std::error_code error;
  std::filesystem::create_directories(folder / "images", error);
  if (error) {
    fail(ErrorKind::bad_request, "choose a folder that can be written", "{}: cannot make this folder: {}",
         (folder / "images").string(), error.message());
  }
  std::vector<nlohmann::ordered_json> entries(static_cast<size_t>(count));
  std::atomic<int64_t> done = 0;
  std::mutex reporting;
  parallel_for(0, count, 16, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; ++index) {
      Sample sample = make_sample(seed, static_cast<uint64_t>(index), options);
      std::string id = fmt::format("{:06}", index);
      std::string image = "images/" + id + ".png";
      write_png(folder / image, sample.image);
      auto conversations = nlohmann::ordered_json::array();
      auto kinds = nlohmann::ordered_json::array();
      for (const Turn& turn : sample.turns) {
        std::string mark = conversations.empty() ? "<image>\n" : "";
        conversations.push_back({{"from", "human"}, {"value", mark + turn.question}});
        conversations.push_back({{"from", "gpt"}, {"value", turn.answer}});
        kinds.push_back(turn.kind);
      }
      entries[static_cast<size_t>(index)] = {
          {"id", id}, {"image", image}, {"conversations", conversations}, {"kinds", kinds}};
      int64_t made = ++done;
      if (made % 100 == 0 || made == count) {
        std::lock_guard lock(reporting);
        report_progress(
            {"making pictures", static_cast<double>(made), static_cast<double>(count), "pictures", ""});
      }
    }
  });
  std::string text = "[\n";
  for (size_t i = 0; i < entries.size(); ++i)
    text += entries[i].dump() + (i + 1 < entries.size() ? ",\n" : "\n");
  write_text(folder / "data.json", text + "]\n");
}

}  // namespace vlm::data
