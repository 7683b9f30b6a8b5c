// The graph most systems share: what an encoder makes of pictures and videos takes the places of placeholder
// tokens in a causal language model's input.
//
//   media --encode--> rows_ND          ids_T --embed--> x_TD
//   x_TD --rows in the places of the placeholder--> --CausalDecoder--> logits_TK
//
// A system says how media become tensors and rows, and how text becomes ids; the rest is here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "parts/decoders/causal.h"
#include "system/system.h"
#include "system/training.h"

namespace vlm {

struct SplicedArgs {
  std::string image_mark = "<image>";  // one for each picture in a rendered prompt; empty: not counted
  std::string video_mark;              // likewise for videos; empty: the system takes none
  Placeholders placeholders{0};        // the ids whose embeddings are replaced
};

class SplicedGenerator : public Model, public Generator, public LanguageTrainable {
 public:
  Prompt prepare(const Request& request) const override;
  std::vector<Tensor> encode_batch(const std::vector<const MediaInput*>& media) const override;
  Tensor prefill(const Prompt& prompt, const std::vector<Tensor>& features, Sequence& sequence,
                 bool all_rows) const override;
  Tensor extend(const std::vector<Continuation>& batch) const override;
  int64_t max_positions() const override { return text_.config().max_position_embeddings; }
  std::vector<int64_t> eos_ids() const override { return eos_ids_; }

  Prompt prepare_example(const Request& request) const override;
  Losses loss(const std::vector<Prompt>& examples, bool all_logits) const override;

 protected:
  // `text_weights`: above the decoder's own names. `default_template`: for checkpoints that publish none.
  SplicedGenerator(const DecoderConfig& text, const Weights& text_weights, const Checkpoint& checkpoint,
                   SplicedArgs args, const char* default_template);

  // Sets pixel_values, extra, rows; the key is set by the caller.
  virtual MediaInput prepare_image(const Image& image, const Request& request) const = 0;
  virtual MediaInput prepare_video(const Video& video, const Request& request) const;
  // What only all media of a prompt together can tell, in the order of their marks: a common size they are
  // padded to. Keys are set afterwards.
  virtual void arrange_media(std::vector<MediaInput>&) const {}
  // Changes the rendered prompt before it is tokenised: markers around tiles, one placeholder for each row.
  virtual std::string expand_text(std::string text, const std::vector<MediaInput>& media) const;
  virtual std::vector<int64_t> tokenise(const std::string& text) const;
  // Ids of a training target that is tokenised by itself, behind the prompt's ids. Here: prompt and target
  // are one text.
  virtual std::optional<std::vector<int64_t>> target_ids(const std::string&,
                                                         const std::vector<MediaInput>&) const {
    return std::nullopt;
  }
  // A whole chat, and which of its tokens are learnt. Here: the assistant's turns.
  virtual LabelledChat label(const Request& request,
                             const std::function<std::vector<int64_t>(const std::string&)>& tokens_of) const;
  // Makes as many placeholders as there are rows. Here: each mark is one placeholder id, which is repeated.
  virtual void expand_ids(Prompt& prompt) const;
  // Rows of all media, [sum of rows, D]. Here: media of one shape without extras run as one batch.
  virtual Tensor encode_all(const std::vector<const MediaInput*>& media) const;
  // Keys that every query sees (prefix-LM).
  virtual int64_t prefix(const Prompt& prompt) const { return prompt.prefix; }
  // The prompt's ids with the placeholder wherever a feature row goes. Here: the ids themselves.
  virtual std::vector<int64_t> spliced_ids(const Prompt& prompt) const { return prompt.ids; }
  // [3, T] of time, row and column of all tokens (M-RoPE); undefined: 0, 1, 2, ... What follows the prompt
  // goes on behind the largest.
  virtual Tensor rotary_positions(const Prompt&) const { return {}; }

  const CausalDecoder& text() const { return text_; }
  const LoadedTokenizer& tokenizer() const { return tokenizer_; }
  const ChatTemplate& chat_template() const { return *chat_template_; }
  const SplicedArgs& args() const { return args_; }

 private:
  void add_media(Prompt& prompt, const Request& request) const;
  Prompt with_placeholders(const Prompt& prompt) const;

  SplicedArgs args_;
  CausalDecoder text_;
  LoadedTokenizer tokenizer_;
  std::shared_ptr<const ChatTemplate> chat_template_;
  std::vector<int64_t> eos_ids_;
};

}  // namespace vlm
