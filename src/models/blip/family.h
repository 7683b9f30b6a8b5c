// What the BLIP family repeats: one picture of a fixed size, words without a chat template, losses over
// pairs.
#pragma once

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

// For every row of similarities [B, B], partners on the diagonal: the index of another one, drawn with
// probabilities that grow with similarity. The draw depends on the similarities alone.
Tensor wrong_partners(const Tensor& similarity_BB);

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
