// Models: load one, then ask, embed or classify.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vlm/abi.h"
#include "vlm/answer.h"
#include "vlm/error.h"
#include "vlm/image.h"

namespace vlm::v0 {

class Chat;

struct LoadOptions {
  // "f32", "bf16", "int8" or "int4"; "auto": the file's own quantisation, else f32 below 2 GB of weights,
  // else bf16.
  std::string precision = "auto";
  // Of the keys and values that a conversation keeps: "f32", "f16" or "int8"; "auto": f32 beside f32 weights,
  // else f16.
  std::string kv_precision = "auto";
  std::string revision = "main";  // of a hub id: branch, tag or commit
  std::string system;             // force a system, by its slug; empty: as the checkpoint says
  bool lenient = false;           // log missing and unused tensors instead of refusing the checkpoint
};

struct ModelInfo {
  std::string name;       // hub id or folder name
  std::string system;     // slug: "llava-1.5"; `vlm list` shows all
  std::string precision;  // "bf16"
  std::int64_t num_parameters = 0;
  std::int64_t max_tokens = 0;  // of prompt and answer together; 0 where the model does not chat
  // What it can be asked for; the rest throws unsupported.
  bool can_chat = false;          // chat(), generate()
  bool can_embed_images = false;  // embed_images()
  bool can_embed_texts = false;   // embed_texts(), similarity(), classify() with labels
  bool can_classify = false;      // classify() into classes of its own
};

// Vectors of length 1, one for each picture or text.
struct Embeddings {
  std::size_t count = 0;
  std::size_t width = 0;
  std::vector<float> values;  // [count, width]
  const float* row(std::size_t idx) const { return values.data() + idx * width; }
};

struct Label {
  std::string name;
  double score = 0;  // a probability
};

// A handle: copies share the weights, which live until the last of them, and the last Chat, is gone. All
// functions may be called from several threads at once.
class Model {
 public:
  // `name`: the folder of a checkpoint, a hub id ("org/name") that `vlm pull` fetched, or "default". Throws
  // Error: not_found, unsupported, bad_checkpoint, out_of_resources.
  static Model load(const std::string& name, const LoadOptions& options = {});

  const ModelInfo& info() const;

  // Length and sampling as the checkpoint's generation_config.json has them, greedy where it says nothing.
  AskOptions published_options() const;

  // A conversation; `system_prompt` may be empty.
  Chat chat(const std::string& system_prompt = "") const;
  // Continues a prompt verbatim, placeholders of pictures included ("USER: <image>\nWhat is it?
  // ASSISTANT:").
  Answer generate(const std::string& prompt, const std::vector<Image>& images = {},
                  const AskOptions& options = {}, const OnText& on_text = {}) const;

  Embeddings embed_images(const std::vector<Image>& images) const;
  Embeddings embed_texts(const std::vector<std::string>& texts) const;
  // [images, texts], as the model was trained to compare them: CLIP's rows sum to 1 (which text fits best),
  // SigLIP's pairs each have a probability of their own.
  std::vector<float> similarity(const std::vector<Image>& images,
                                const std::vector<std::string>& texts) const;

  // The `top` most probable classes of the model itself, best first; 0: all.
  std::vector<Label> classify(const Image& image, std::size_t top = 5) const;
  // The same for labels of the caller, by similarity; "{}" in `text_template` stands for the label.
  std::vector<Label> classify(const Image& image, const std::vector<std::string>& labels, std::size_t top = 5,
                              const std::string& text_template = "a photo of a {}") const;

 private:
  friend struct Access;
  struct Data;
  explicit Model(std::shared_ptr<const Data> data) : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

}  // namespace vlm::v0
