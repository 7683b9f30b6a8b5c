// Training examples by number: the same number gives the same example, so a run can be continued anywhere.
#pragma once

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "system/system.h"
#include "train/data/dataset.h"

namespace vlm {

struct Example {
  Prompt prompt;
  std::vector<std::string> kinds;  // of its answers in order, where the source knows them
  Tensor patch_labels;             // int64 [patches, fields], of drawn scenes
};

class ExampleSource {
 public:
  virtual ~ExampleSource() = default;
  virtual Example make(int64_t index) const = 0;  // safe to call from several threads
  virtual int64_t size() const = 0;               // examples of one epoch; 0: endless
};

struct ExampleOptions {
  uint64_t seed = 0;
  int64_t longest = 0;     // tokens; turns that do not fit are left out; 0: no limit
  int64_t patch_grid = 0;  // of patch labels; 0: none
};

// Drawn scenes with conversations about them.
std::unique_ptr<ExampleSource> scene_examples(const LanguageTrainable& model, const data::DataOptions& data,
                                              const ExampleOptions& options);
// A JSON list in LLaVA's format: {"image": "name.png", "conversations": [{"from": "human" | "gpt", "value"}]}.
std::unique_ptr<ExampleSource> list_examples(const LanguageTrainable& model,
                                             const std::filesystem::path& json,
                                             const std::filesystem::path& images,
                                             const ExampleOptions& options);

// Leaves out what stands behind the last whole answer within `longest` tokens. False when no answer fits.
bool cut_example(Example& example, int64_t longest);
// Appends uncounted copies of `id` up to `length` tokens: sequences of one length are computed together.
void pad_example(Example& example, int64_t length, int64_t id);

// Makes batches ahead on threads of its own, in order.
class BatchQueue {
 public:
  using Batch = std::vector<Example>;
  BatchQueue(std::function<Batch(int64_t)> make, int64_t first, size_t ahead);
  ~BatchQueue();
  BatchQueue(const BatchQueue&) = delete;
  BatchQueue& operator=(const BatchQueue&) = delete;
  Batch next();  // rethrows what making it threw

 private:
  void run();
  std::function<Batch(int64_t)> make_;
  int64_t next_;
  size_t ahead_;
  bool stopping_ = false;
  std::exception_ptr problem_;
  std::deque<Batch> ready_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
};

}  // namespace vlm
