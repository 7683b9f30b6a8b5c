#include "train/examples.h"

#include <algorithm>
#include <numeric>

#include "base/files.h"
#include "base/json.h"
#include "train/dense_scene.h"
#include "train/drills.h"
#include "train/patch_labels.h"

namespace vlm {

namespace {

ChatMessage question_message(const std::string& text, bool has_image) {
  ChatMessage message{"user", {}};
  if (has_image) message.content.push_back({ContentPart::Kind::image, ""});
  message.content.push_back({ContentPart::Kind::text, text});
  return message;
}

// A question of a list: its mark goes to the front, several marks stay where they are.
ChatMessage marked_message(const std::string& value) {
  constexpr std::string_view kMark = "<image>";
  auto trimmed = [](const std::string& text) {
    size_t first = text.find_first_not_of('\n'), last = text.find_last_not_of('\n');
    return first == std::string::npos ? "" : text.substr(first, last - first + 1);
  };
  size_t mark = value.find(kMark);
  if (mark == std::string::npos) return question_message(trimmed(value), false);
  if (value.find(kMark, mark + 1) == std::string::npos)
    return question_message(trimmed(std::string(value).erase(mark, kMark.size())), true);
  ChatMessage message{"user", {}};
  std::string text = trimmed(value);
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find(kMark, begin), text.size());
    if (end > begin) message.content.push_back({ContentPart::Kind::text, text.substr(begin, end - begin)});
    if (end < text.size()) message.content.push_back({ContentPart::Kind::image, ""});
    begin = end + kMark.size();
  }
  return message;
}

class SceneExamples final : public ExampleSource {
 public:
  SceneExamples(const LanguageTrainable* model, const data::DataOptions& data, const ExampleOptions& options)
      : model_(model), data_(data), options_(options) {}

  int64_t size() const override { return 0; }

  Example make(int64_t index) const override {
    data::Rng rng = rng_of(index);
    while (true) {  // a few scenes give no question, or none that fits
      data::Scene scene = data::sample_scene(rng.next(), data_.scene);
      std::vector<data::Turn> turns = data::ask(scene, rng.next(), data_.questions);
      if (turns.empty()) continue;
      // Behind the questions, which could else be answered from the exercises instead of the picture. Where
      // there is little to tell apart, more exercises only repeat each other.
      auto things = static_cast<int64_t>(scene.objects.size() + scene.pictures.size());
      int64_t drills = std::min(options_.drills, 2 * things - 1);
      for (data::Turn& turn : drill(scene, rng, drills)) turns.push_back(std::move(turn));
      Drawn drawn = this->drawn(scene);
      Example example = rng.chance(options_.apart) ? apart(drawn, turns) : labelled(drawn, turns);
      if (options_.longest > 0 && !cut_example(example, options_.longest)) continue;
      return example;
    }
  }

  Example make_crowded(int64_t index) const override {
    data::Rng rng = rng_of(~index);
    return labelled(drawn(dense_scene(rng, data_.scene)), {{"What is this?", "a picture", "patches"}});
  }

  Pair make_pair(int64_t index) const override {
    data::QuestionOptions captions = data_.questions;
    captions.turns = 1, captions.caption_share = 1, captions.chat_share = 0;
    data::Rng rng = rng_of(index);
    while (true) {  // crowded scenes have no caption
      data::Scene scene = data::sample_scene(rng.next(), data_.scene);
      for (const data::Turn& turn : data::ask(scene, rng.next(), captions))
        if (turn.kind == "caption") return {data::draw(scene, data_.height, data_.width), turn.answer};
    }
  }

 private:
  struct Drawn {
    Image image;
    ScenePatches patches;
  };
  Drawn drawn(const data::Scene& scene) const {
    Drawn result{data::draw(scene, data_.height, data_.width), {}};
    if (options_.patch_grid > 0) result.patches = patches_of(scene, options_.patch_grid);
    return result;
  }

  data::Rng rng_of(int64_t index) const {
    return data::Rng(data::mix_bits(data::mix_bits(options_.seed) + static_cast<uint64_t>(index)));
  }

  // Every turn is a conversation of its own about the picture, which they share: an answer cannot be taken
  // from the turns before.
  Example apart(const Drawn& drawn, const std::vector<data::Turn>& turns) const {
    Example whole = labelled(drawn, {turns[0]});
    Prompt& prompt = whole.prompt;
    int64_t shared = prompt.media.back().begin + prompt.media.back().rows;
    prompt.turns_apart = {shared};
    auto look_apart = [&](Gaze& gaze, int64_t begin) {
      auto move = [&](int64_t& position) { position += position >= shared ? begin - shared : 0; };
      move(gaze.row);
      for (Gaze::Target& target : gaze.targets)
        std::for_each(target.positions.begin(), target.positions.end(), move);
      gaze.shared = shared, gaze.begin = begin;
    };
    for (Gaze& gaze : whole.gazes) look_apart(gaze, shared);
    for (size_t at = 1; at < turns.size(); ++at) {
      auto begin = static_cast<int64_t>(prompt.ids.size());
      if (options_.longest > 0 && begin >= options_.longest) break;
      Example next = labelled(drawn, {turns[at]});
      for (Gaze& gaze : next.gazes) {
        look_apart(gaze, begin);
        whole.gazes.push_back(std::move(gaze));
      }
      prompt.turns_apart.push_back(begin);
      prompt.ids.insert(prompt.ids.end(), next.prompt.ids.begin() + shared, next.prompt.ids.end());
      prompt.labels.insert(prompt.labels.end(), next.prompt.labels.begin() + shared,
                           next.prompt.labels.end());
      whole.kinds.push_back(turns[at].kind);
    }
    return whole;
  }

  Example labelled(const Drawn& drawn, const std::vector<data::Turn>& turns) const {
    Example example;
    Request request;
    for (const data::Turn& turn : turns) {
      request.messages.push_back(question_message(turn.question, request.messages.empty()));
      request.messages.push_back(ChatMessage::text("assistant", turn.answer));
      example.kinds.push_back(turn.kind);
    }
    request.images.push_back(drawn.image);
    example.prompt = model_->prepare_example(request);
    if (options_.patch_grid > 0) {
      example.patch_labels = drawn.patches.labels;
      if (options_.gaze_tokens)
        example.gazes = gazes_of(example.prompt, *options_.gaze_tokens, turns, drawn.patches);
    }
    return example;
  }

  const LanguageTrainable* model_;
  data::DataOptions data_;
  ExampleOptions options_;
};

class ListExamples final : public ExampleSource {
 public:
  ListExamples(const LanguageTrainable* model, const std::filesystem::path& json,
               const std::filesystem::path& images, const ExampleOptions& options)
      : model_(model), images_(images), options_(options), list_(Json::read_file(json)) {
    if (!list_.is_array() || list_.size() == 0)
      fail(ErrorKind::bad_request, "give a JSON list of {\"image\", \"conversations\"}",
           "{}: no list of examples", json.string());
  }

  int64_t size() const override { return list_.size(); }

  Example make(int64_t index) const override {
    int64_t at = shuffled(index);
    Json entry = list_[at];
    return with_context(fmt::format("example {}", at), [&] {
      Request request;
      Json turns = entry.at("conversations");
      for (int64_t turn = 0; turn < turns.size(); ++turn) add_turn(request, turns[turn]);
      for (const std::string& name : picture_names(entry)) request.images.push_back(picture(name));
      Example example;
      example.prompt = model_->prepare_example(request);
      if (options_.longest > 0 && !cut_example(example, options_.longest))
        fail(ErrorKind::bad_request, "raise the stage's tokens",
             "the first answer ends behind the {} tokens of the stage", options_.longest);
      return example;
    });
  }

  Example make_crowded(int64_t) const override {
    fail(ErrorKind::bad_request, "set dense_share = 0", "only drawn scenes can be crowded at will");
  }

  Pair make_pair(int64_t index) const override {
    int64_t at = shuffled(index);
    Json entry = list_[at];
    return with_context(fmt::format("example {}", at), [&] {
      Json turns = entry.at("conversations");
      for (int64_t turn = 0; turn < turns.size(); ++turn)
        if (turns[turn].at("from").as<std::string>() == "gpt")
          return Pair{picture(entry.at("image").as<std::string>()),
                      turns[turn].at("value").as<std::string>()};
      fail(ErrorKind::bad_request, "give every picture a text", "no turn is from \"gpt\"");
    });
  }

 private:
  // One name, or a list of them in the order of their marks.
  static std::vector<std::string> picture_names(const Json& entry) {
    if (!entry.has("image")) return {};
    Json image = entry.at("image");
    return image.is_array() ? image.as<std::vector<std::string>>()
                            : std::vector<std::string>{image.as<std::string>()};
  }

  Image picture(const std::string& name) const {
    return with_context(name, [&] { return read_image(images_ / name); });
  }

  static void add_turn(Request& request, const Json& turn) {
    std::string from = turn.at("from").as<std::string>(), value = turn.at("value").as<std::string>();
    if (from != "human" && from != "gpt" && from != "system")
      fail(ErrorKind::bad_request, "known: human, gpt, system", "a turn is from \"{}\"", from);
    request.messages.push_back(from == "human"
                                   ? marked_message(value)
                                   : ChatMessage::text(from == "gpt" ? "assistant" : "system", value));
  }

  // Every epoch in an order of its own.
  int64_t shuffled(int64_t index) const {
    int64_t epoch = index / size();
    if (order_epoch_ != epoch) {
      order_.resize(static_cast<size_t>(size()));
      std::iota(order_.begin(), order_.end(), int64_t{0});
      data::Rng(data::mix_bits(options_.seed) + static_cast<uint64_t>(epoch)).shuffle(order_);
      order_epoch_ = epoch;
    }
    return order_[static_cast<size_t>(index % size())];
  }

  const LanguageTrainable* model_;
  std::filesystem::path images_;
  ExampleOptions options_;
  Json list_;
  mutable int64_t order_epoch_ = -1;
  mutable std::vector<int64_t> order_;
};

}  // namespace

std::unique_ptr<ExampleSource> scene_examples(const LanguageTrainable* model, const data::DataOptions& data,
                                              const ExampleOptions& options) {
  return std::make_unique<SceneExamples>(model, data, options);
}

std::unique_ptr<ExampleSource> list_examples(const LanguageTrainable* model,
                                             const std::filesystem::path& json,
                                             const std::filesystem::path& images,
                                             const ExampleOptions& options) {
  return std::make_unique<ListExamples>(model, json, images, options);
}

bool cut_example(Example& example, int64_t longest) {
  Prompt& prompt = example.prompt;
  if (static_cast<int64_t>(prompt.ids.size()) <= longest) return true;
  size_t end = 0, answers = 0;
  for (size_t at = 1; at <= static_cast<size_t>(longest); ++at) {
    bool answer_ends = prompt.labels[at - 1] != kIgnore && (prompt.labels[at] == kIgnore);
    if (answer_ends) end = at, ++answers;
  }
  if (end == 0) return false;
  prompt.ids.resize(end);
  prompt.labels.resize(end);
  std::erase_if(prompt.media,
                [&](const MediaInput& media) { return media.begin >= static_cast<int64_t>(end); });
  std::erase_if(prompt.turns_apart, [&](int64_t begin) { return begin >= static_cast<int64_t>(end); });
  if (example.kinds.size() > answers) example.kinds.resize(answers);
  std::erase_if(example.gazes, [&](const Gaze& gaze) { return gaze.row >= static_cast<int64_t>(end) - 1; });
  return true;
}

void pad_example(Example& example, int64_t length, int64_t id) {
  if (static_cast<int64_t>(example.prompt.ids.size()) >= length) return;
  example.prompt.ids.resize(static_cast<size_t>(length), id);
  example.prompt.labels.resize(static_cast<size_t>(length), kIgnore);
}

}  // namespace vlm
