// What the BLIP family repeats: one picture of a fixed size, words without a chat template, losses over
// pairs.
#pragma once

#include <functional>
#include <optional>

#include "parts/encoders/bert.h"
#include "parts/encoders/vit.h"
#include "parts/processors/image_processor.h"
#include "system/system.h"

namespace vlm::blip {

// The words of a request: its raw prompt, or the text of its last user turn; "" where there are none.
std::string words_of(const Request& request);

// The words and the target of a training example. An answer from a chat follows its question behind a space;
// a request's own target is verbatim.
Request example_of(const Request& request);

// Exactly one picture, as `vision` takes it; `rows`: of its features. Throws bad_request for another number.
MediaInput prepare_picture(const Request& request, const std::optional<ImageProcessor>& processor,
                           int64_t rows);
// The same for one picture, or bad_checkpoint without a processor.
MediaInput prepare_picture(const Image& image, const std::optional<ImageProcessor>& processor, int64_t rows);
std::optional<ImageProcessor> processor_of(const Checkpoint& checkpoint);

// The logits [3B, 2] that `match` gives for states of pictures and ids of texts, one to one.
using Match = std::function<Tensor(const Tensor& states_NSV, const Tensor& ids_NT)>;
// BLIP's ITM: every pair of the batch, its text with another picture, and its picture with another text. The
// others are drawn for each row of similarities [B, B] (pictures by texts, partners on the diagonal) with
// probabilities that grow with similarity; the draw depends on the similarities alone.
Tensor matching_loss(const Tensor& similarity_BB, const Tensor& states_BSV, const Tensor& ids_BT,
                     const Match& match);
// Throws bad_request unless there is one picture for all texts, or one for each.
void check_pairs(int64_t num_images, int64_t num_texts);

// The three systems of blip.cc, one for each architecture.
std::unique_ptr<Model> make_captioner(const Checkpoint& checkpoint, const Weights& w);
std::unique_ptr<Model> make_answerer(const Checkpoint& checkpoint, const Weights& w);
std::unique_ptr<Model> make_matcher(const Checkpoint& checkpoint, const Weights& w);

// The ids that BLIP's text part counts on, whatever the tokenizer's files say.
struct TextIds {
  int64_t start = 30522;  // [DEC], before a caption or answer
  int64_t match = 30523;  // [ENC], before a text that is read together with a picture in training
  int64_t end = 102;      // [SEP]
  int64_t pad = 0;
  double label_smoothing = 0;
  static TextIds from(const Json& text_config);
};

}  // namespace vlm::blip
