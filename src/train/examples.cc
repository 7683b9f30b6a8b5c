#include "train/examples.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/files.h"
#include "base/json.h"
#include "base/parallel.h"
#include "train/patch_labels.h"

namespace vlm {

namespace {

ChatMessage question_message(const std::string& text, bool has_image) {
  ChatMessage message{"user", {}};
  if (has_image) message.content.push_back({ContentPart::Kind::image, ""});
  message.content.push_back({ContentPart::Kind::text, text});
  return message;
}

class SceneExamples final : public ExampleSource {
 public:
  SceneExamples(const LanguageTrainable& model, const data::DataOptions& data, const ExampleOptions& options)
      : model_(model), data_(data), options_(options) {}

  int64_t size() const override { return 0; }

  Example make(int64_t index) const override {
    data::Rng rng(data::mix_bits(data::mix_bits(options_.seed) + static_cast<uint64_t>(index)));
    while (true) {  // a few scenes give no question, or none that fits
      data::Scene scene = data::sample_scene(rng.next(), data_.scene);
      std::vector<data::Turn> turns = data::ask(scene, rng.next(), data_.questions);
      if (turns.empty()) continue;
      Example example;
      Request request;
      for (const data::Turn& turn : turns) {
        request.messages.push_back(question_message(turn.question, request.messages.empty()));
        request.messages.push_back(ChatMessage::text("assistant", turn.answer));
        example.kinds.push_back(turn.kind);
      }
      request.images.push_back(data::draw(scene, data_.height, data_.width));
      example.prompt = model_.prepare_example(request);
      if (options_.longest > 0 && !cut_example(example, options_.longest)) continue;
      if (options_.patch_grid > 0) example.patch_labels = patch_labels(scene, options_.patch_grid);
      return example;
    }
  }

 private:
  const LanguageTrainable& model_;
  data::DataOptions data_;
  ExampleOptions options_;
};

class ListExamples final : public ExampleSource {
 public:
  ListExamples(const LanguageTrainable& model, const std::filesystem::path& json,
               const std::filesystem::path& images, const ExampleOptions& options)
      : model_(model), images_(images), options_(options), list_(Json::read_file(json)) {
    if (!list_.is_array() || list_.size() == 0)
      fail(ErrorKind::bad_request, "give a JSON list of {\"image\", \"conversations\"}",
           "{}: no list of examples", json.string());
  }

  int64_t size() const override { return list_.size(); }

  Example make(int64_t index) const override {
    int64_t epoch = index / size();
    int64_t at = shuffled(epoch, index % size());
    Json entry = list_[at];
    return with_context(fmt::format("example {}", at), [&] {
      Request request;
      Json turns = entry.at("conversations");
      for (int64_t turn = 0; turn < turns.size(); ++turn) add_turn(request, turns[turn]);
      if (entry.has("image")) {
        std::string name = entry.at("image").as<std::string>();
        request.images.push_back(with_context(name, [&] { return read_image(images_ / name); }));
      }
      Example example;
      example.prompt = model_.prepare_example(request);
      if (options_.longest > 0 && !cut_example(example, options_.longest))
        fail(ErrorKind::bad_request, "raise the stage's tokens",
             "the first answer ends behind the {} tokens of the stage", options_.longest);
      return example;
    });
  }

 private:
  static void add_turn(Request& request, const Json& turn) {
    std::string from = turn.at("from").as<std::string>(), value = turn.at("value").as<std::string>();
    if (from != "human" && from != "gpt" && from != "system")
      fail(ErrorKind::bad_request, "known: human, gpt, system", "a turn is from \"{}\"", from);
    if (from == "human") {
      constexpr std::string_view kMark = "<image>";
      size_t mark = value.find(kMark);
      bool has_image = mark != std::string::npos;
      if (has_image) value.erase(mark, kMark.size());
      size_t first = value.find_first_not_of('\n'), last = value.find_last_not_of('\n');
      value = first == std::string::npos ? "" : value.substr(first, last - first + 1);
      request.messages.push_back(question_message(value, has_image));
    } else {
      request.messages.push_back(ChatMessage::text(from == "gpt" ? "assistant" : "system", value));
    }
  }

  // Every epoch in an order of its own.
  int64_t shuffled(int64_t epoch, int64_t at) const {
    std::lock_guard lock(mutex_);
    if (order_epoch_ != epoch) {
      order_.resize(static_cast<size_t>(size()));
      std::iota(order_.begin(), order_.end(), int64_t{0});
      data::Rng(data::mix_bits(options_.seed) + static_cast<uint64_t>(epoch)).shuffle(order_);
      order_epoch_ = epoch;
    }
    return order_[static_cast<size_t>(at)];
  }

  const LanguageTrainable& model_;
  std::filesystem::path images_;
  ExampleOptions options_;
  Json list_;
  mutable std::mutex mutex_;
  mutable int64_t order_epoch_ = -1;
  mutable std::vector<int64_t> order_;
};

}  // namespace

std::unique_ptr<ExampleSource> scene_examples(const LanguageTrainable& model, const data::DataOptions& data,
                                              const ExampleOptions& options) {
  return std::make_unique<SceneExamples>(model, data, options);
}

std::unique_ptr<ExampleSource> list_examples(const LanguageTrainable& model,
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
  if (example.kinds.size() > answers) example.kinds.resize(answers);
  return true;
}

void pad_example(Example& example, int64_t length, int64_t id) {
  if (static_cast<int64_t>(example.prompt.ids.size()) >= length) return;
  example.prompt.ids.resize(static_cast<size_t>(length), id);
  example.prompt.labels.resize(static_cast<size_t>(length), kIgnore);
}

BatchQueue::BatchQueue(std::function<Batch(int64_t)> make, int64_t first, size_t ahead)
    : make_(std::move(make)), next_(first), ahead_(ahead), thread_([this] { run(); }) {}

BatchQueue::~BatchQueue() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void BatchQueue::run() {
  set_num_threads(1);  // of this thread only: the pictures are small and the cores are busy
  try {
    while (true) {
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopping_ || ready_.size() < ahead_; });
        if (stopping_) return;
      }
      Batch batch = make_(next_++);
      std::lock_guard lock(mutex_);
      ready_.push_back(std::move(batch));
      changed_.notify_all();
    }
  } catch (...) {
    std::lock_guard lock(mutex_);
    problem_ = std::current_exception();
    changed_.notify_all();
  }
}

BatchQueue::Batch BatchQueue::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty() || problem_; });
  if (ready_.empty()) std::rethrow_exception(problem_);
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return batch;
}

}  // namespace vlm
