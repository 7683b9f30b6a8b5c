// Systems that put feature rows in front of a T5 encoder's text.
//
//   media --encode--> rows_ND       ids_S --embed--> x_SD
//   x_SD --rows in the places of the placeholder--> --T5 encoder--> states_SD --T5 decoder--> logits_TK
//
// A system says how media become tensors and rows; the rest is here. T5 alone is the case without media.
#pragma once

#include "parts/decoders/t5.h"
#include "system/system.h"

namespace vlm {

class SplicedT5 : public Model, public Generator, public LanguageTrainable {
 public:
  Prompt prepare(const Request& request) const override;
  Tensor prefill(const Prompt& prompt, const std::vector<Tensor>& features, Sequence& sequence,
                 bool all_rows) const override;
  Tensor extend(const std::vector<Continuation>& batch) const override;
  int64_t max_positions() const override { return text_.config().n_positions; }
  std::vector<int64_t> eos_ids() const override { return eos_ids_; }
  bool is_encoder_decoder() const override { return true; }

  // ids: what the encoder reads; labels: what the decoder is to write, as the tokenizer makes it of the
  // target.
  Prompt prepare_example(const Request& request) const override;
  Losses loss(const std::vector<Prompt>& examples, bool all_logits) const override;

 protected:
  // `text_weights`: above T5's own names. `placeholder`: the id whose embedding is replaced.
  SplicedT5(const T5Config& text, const Weights& text_weights, const Checkpoint& checkpoint,
            int64_t placeholder, const char* default_template);

  // Sets pixel_values, extra, rows; the key is set by the caller.
  virtual MediaInput prepare_image(const Image& image, const Request& request) const = 0;
  // Makes as many placeholders as there are rows. Here: all in front of the text.
  virtual void expand_ids(Prompt& prompt) const;

  const LoadedTokenizer& tokenizer() const { return tokenizer_; }
  const ChatTemplate& chat_template() const { return *chat_template_; }
  int64_t placeholder() const { return placeholder_; }

 private:
  // States of several prompts, one behind the other, and how they lie.
  std::pair<Tensor, nn::Packed> read(const std::vector<const Prompt*>& prompts,
                                     const Tensor& features_ND) const;

  T5 text_;
  int64_t placeholder_;
  LoadedTokenizer tokenizer_;
  std::shared_ptr<const ChatTemplate> chat_template_;
  std::vector<int64_t> eos_ids_;
};

// Puts the placeholders of all media in front of a prompt's ids; labels grow alike, uncounted.
void put_media_first(Prompt& prompt, int64_t placeholder);

}  // namespace vlm
