// What a system of the list can be asked for. A model implements the interfaces it has; the engine asks for
// them with as<>().
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/hash.h"
#include "nn/kv_cache.h"
#include "system/answer.h"
#include "system/checkpoint.h"
#include "system/request.h"
#include "system/rules.h"
#include "tensor/tensor.h"
#include "weights/weights.h"

namespace vlm {

class Model {
 public:
  virtual ~Model() = default;
};

// One picture or video as its encoder takes it.
struct MediaInput {
  enum class Kind { image, video };
  Kind kind = Kind::image;
  Tensor pixel_values;  // [n, 3, H, W]: n views or frames; other shapes where the reference has them
  std::map<std::string, Tensor> extra;  // "image_sizes", ... by FORMAT.md's names
  ContentHash key;                      // of the tensors' contents: equal keys have equal features
  int64_t rows = 0;                     // of features, and of placeholders in Prompt::ids
  int64_t begin = 0;                    // where its first placeholder stands in Prompt::ids
};

// What prepare() makes of a request.
struct Prompt {
  std::string text;               // rendered, before tokenising
  std::vector<int64_t> ids;       // placeholders expanded to one id for every feature row
  std::vector<MediaInput> media;  // in the order of their placeholders
  std::vector<int64_t>
      labels;  // training: the id to predict at every position, kIgnore where no loss is taken
  // Training: where turns begin that see what stands before the first of them, and themselves, but not each
  // other; each as if it were the first.
  std::vector<int64_t> turns_apart = {};
  int64_t prefix = 0;  // ids at the beginning that all see each other (prefix-LM)
};
constexpr int64_t kIgnore = -100;

// The memory of one sequence between passes.
struct Sequence {
  nn::KvCache cache;
  std::map<std::string, Tensor> extra;  // what an unusual system must keep besides
};

// Text from pictures and text.
class Generator {
 public:
  virtual ~Generator() = default;
  virtual Prompt prepare(const Request& request) const = 0;
  // What the language model receives for one medium, [n, D].
  virtual Tensor encode(const MediaInput& media) const = 0;
  // The same for several, as one batch where they allow it.
  virtual std::vector<Tensor> encode_batch(const std::vector<const MediaInput*>& media) const {
    std::vector<Tensor> features;
    for (const MediaInput* input : media) features.push_back(encode(*input));
    return features;
  }
  // Runs the prompt behind what `sequence` already holds (the first cache.length() ids). `features`: of all
  // media of the prompt, in order. Returns next-token logits, [rows, K]: of every position run, or of the
  // last alone.
  virtual Tensor prefill(const Prompt& prompt, const std::vector<Tensor>& features, Sequence& sequence,
                         bool all_rows) const = 0;
  // Continues each sequence by the given ids (usually one): logits of every new position, in order, [total,
  // K].
  struct Continuation {
    std::vector<int64_t> ids;
    Sequence* sequence;
  };
  virtual Tensor extend(const std::vector<Continuation>& batch) const = 0;

  virtual int64_t max_positions() const = 0;         // what the language model was made for
  virtual std::vector<int64_t> eos_ids() const = 0;  // any of them ends the answer
  virtual std::vector<std::string> stop_strings() const { return {}; }  // of the system's prompt format
  virtual GenerationRules rules() const { return {}; }
  // Encoder-decoder systems: an encoder reads the prompt, and a sequence holds the answer alone, behind a
  // start token. prefill() then begins the answer anew, whatever `sequence` holds, and returns one row.
  virtual bool is_encoder_decoder() const { return false; }
  // False: a picture without a word is a request as well (captions).
  virtual bool needs_question() const { return true; }
};

// Pictures as vectors.
class ImageEmbedder {
 public:
  virtual ~ImageEmbedder() = default;
  virtual Tensor prepare_images(const std::vector<Image>& images) const = 0;  // [B, 3, H, W]
  virtual Tensor embed_images(const Tensor& pixels_B3HW) const = 0;           // [B, D], L2-normalised
};

// Texts as vectors.
class TextEmbedder {
 public:
  virtual ~TextEmbedder() = default;
  virtual Tensor prepare_texts(
      const std::vector<std::string>& texts) const = 0;  // ids int64 [B, T], padded as the reference pads
  virtual Tensor embed_texts(const Tensor& ids_BT) const = 0;  // [B, D], L2-normalised
};

// A joint space of pictures and texts. A picture may have several vectors there: [B, Q, D].
class Embedder : public ImageEmbedder, public TextEmbedder {
 public:
  virtual Tensor logits_per_image(const Tensor& image_ID,
                                  const Tensor& text_TD) const = 0;  // [I, T], scale and bias applied
  virtual Tensor probabilities(
      const Tensor& logits_per_image) const = 0;  // [I, T]: softmax over texts, or sigmoid
  virtual Tensor contrastive_loss(
      const Tensor& logits_per_image) const = 0;  // of matching pairs on the diagonal
};

// Texts against pictures by a head that reads both together (BLIP's image-text matching).
class PairScorer : public Embedder {
 public:
  // ids [B, T] as prepare_texts() makes them, against one picture or B of them -> [B, 2]: no match, match.
  virtual Tensor itm_logits(const Tensor& pixels_B3HW, const Tensor& ids_BT) const = 0;
};

// Learns from pictures and their texts, the i-th picture with the i-th text, by several objectives at once.
class PairTrainable {
 public:
  virtual ~PairTrainable() = default;
  struct PairLosses {
    Tensor loss;                          // [], their sum
    std::map<std::string, Tensor> parts;  // by name: "itc" (contrast), "itm" (matching), "lm" (caption)
  };
  // Pictures and ids as the model's Embedder prepares them. Wrong partners are drawn within the batch.
  virtual PairLosses pair_losses(const Tensor& pixels_B3HW, const Tensor& ids_BT) const = 0;
};

// Fixed classes.
class Classifier {
 public:
  virtual ~Classifier() = default;
  virtual Tensor prepare_images(const std::vector<Image>& images) const = 0;  // [B, 3, H, W]
  virtual Tensor class_logits(const Tensor& pixels_B3HW) const = 0;           // [B, C]
  virtual std::vector<std::string> class_names() const = 0;                   // C of them
};

// Learns text from examples: prepare() with a target, then loss().
class LanguageTrainable {
 public:
  virtual ~LanguageTrainable() = default;
  // Prompt and target as one sequence, with labels.
  virtual Prompt prepare_example(const Request& request) const = 0;
  struct Losses {
    Tensor loss;    // [], mean over counted tokens of all examples
    Tensor logits;  // [total tokens, K], or of the counted rows alone
    int64_t counted_tokens = 0;
  };
  virtual Losses loss(const std::vector<Prompt>& examples, bool all_logits) const = 0;
  // Name patterns of the three parts that training stages freeze and unfreeze.
  struct PartNames {
    std::string vision, connector, language;
  };
  virtual PartNames part_names() const = 0;
};

template <typename Capability>
const Capability* as(const Model& model) {
  return dynamic_cast<const Capability*>(&model);
}

// One row of the table of systems, models/all.cc.
struct System {
  const char* slug;
  bool (*accepts)(const Checkpoint& checkpoint);  // exactly one row accepts a checkpoint
  std::unique_ptr<Model> (*make)(const Checkpoint& checkpoint, const Weights& weights);
  // Layouts other than the names the code asks for; the first whose `to` prefixes occur in the checkpoint is
  // used.
  std::vector<std::vector<Rename>> layouts = {};
  // Adds to a checkpoint what the system's own code adds when it starts: tokens that the files leave out.
  void (*complete)(Checkpoint& checkpoint) = nullptr;
};

const std::vector<System>& all_systems();               // models/all.cc
const System& find_system(const std::string& slug);     // throws not_found with the nearest slug
const System& system_of(const Checkpoint& checkpoint);  // throws unsupported, naming the architectures

// A model ready for use.
struct LoadedModel {
  Checkpoint checkpoint;
  const System* system = nullptr;
  std::shared_ptr<const Weights> weights;  // the cursor: parameters by their published names
  std::shared_ptr<const Model> model;
  ops::KvPrecision kv_precision = ops::KvPrecision::f32;  // of the caches of sessions
};
// Binds the checkpoint's tensors to the system that accepts it, or to `slug`; everything that does not fit is
// one error.
LoadedModel bind_model(Checkpoint checkpoint, const WeightsOptions& options, const std::string& slug = "");
// A complete checkpoint of random values for a config (tests, training from scratch).
LoadedModel bind_random_model(Checkpoint checkpoint, uint64_t seed, const WeightsOptions& options,
                              const std::string& slug = "");

}  // namespace vlm
