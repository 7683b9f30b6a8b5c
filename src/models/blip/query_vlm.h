// What BLIP-2 and InstructBLIP put in front of a language model: a picture as the outputs of a few queries.
//
//   pixels_13HW --ViT--> states_1SV --Q-Former, Q queries [and the instruction's words]--> 1QH
//   --language_projection--> rows_QD, in front of the text's own beginning
//
// The language model is a causal decoder (SplicedGenerator) or T5 (SplicedT5).
#pragma once

#include "models/blip/family.h"
#include "models/common/spliced.h"
#include "models/common/spliced_t5.h"
#include "parts/connectors/qformer.h"

namespace vlm::blip {

// Tower, Q-Former and projection.
class QueryReader {
 public:
  // `names`: kBlip2QFormer, or kInstructQFormer whose queries read the instruction as well.
  QueryReader(const Checkpoint& checkpoint, const QFormerNames& names, const Weights& w, int64_t text_width);
  MediaInput prepare(const Image& image, const Request& request) const;
  Tensor encode(const MediaInput& media) const;  // [N * Q, D]

 private:
  VitConfig vision_config_;
  QFormerConfig qformer_config_;
  bool reads_words_;
  Vit vision_;
  QFormer qformer_;
  nn::Linear projection_;
  LoadedTokenizer words_;  // the Q-Former's own
  std::optional<ImageProcessor> processor_;
};

// The id in whose places the rows go. Files from before it was added to the tokenizer name none.
int64_t image_token_of(const Checkpoint& checkpoint);

// At most one picture, and words that may be missing.
Request checked(const Request& request);

template <typename Base>
class QueryVlm : public Base {
 public:
  Tensor encode(const MediaInput& media) const override { return reader_.encode(media); }
  Prompt prepare(const Request& request) const override { return Base::prepare(checked(request)); }
  bool needs_question() const override { return false; }
  LanguageTrainable::PartNames part_names() const override {
    return {"vision_model*", "query_tokens|qformer*|language_projection*", "*"};
  }

 protected:
  template <typename TextConfig>
  QueryVlm(const TextConfig& text, int64_t text_width, const QFormerNames& names,
           const Checkpoint& checkpoint, const Weights& w, const char* chat_template)
      : Base(text, w / "language_model", checkpoint, placeholder_argument(checkpoint), chat_template),
        reader_(checkpoint, names, w, text_width) {}

  MediaInput prepare_image(const Image& image, const Request& request) const override {
    return reader_.prepare(image, request);
  }

 private:
  static auto placeholder_argument(const Checkpoint& checkpoint) {
    if constexpr (std::is_same_v<Base, SplicedGenerator>)
      return SplicedArgs{"", "", image_token_of(checkpoint)};
    else
      return image_token_of(checkpoint);
  }
  QueryReader reader_;
};

// With a causal decoder: rows in front of everything, and the end token behind a target.
class QueryDecoder : public QueryVlm<SplicedGenerator> {
 public:
  QueryDecoder(const QFormerNames& names, const Checkpoint& checkpoint, const Weights& w,
               const char* chat_template)
      : QueryDecoder(DecoderConfig::from(checkpoint.config.at("text_config"),
                                         checkpoint.config.get("tie_word_embeddings", false)),
                     names, checkpoint, w, chat_template) {}
  Prompt prepare_example(const Request& request) const override {
    return SplicedGenerator::prepare_example(example_of(checked(request)));
  }

 private:
  QueryDecoder(const DecoderConfig& text, const QFormerNames& names, const Checkpoint& checkpoint,
               const Weights& w, const char* chat_template)
      : QueryVlm(text, text.hidden_size, names, checkpoint, w, chat_template) {}
  void expand_ids(Prompt& prompt) const override;
};

class QueryT5 : public QueryVlm<SplicedT5> {
 public:
  QueryT5(const QFormerNames& names, const Checkpoint& checkpoint, const Weights& w,
          const char* chat_template)
      : QueryT5(T5Config::from(checkpoint.config.at("text_config")), names, checkpoint, w, chat_template) {}

 private:
  QueryT5(const T5Config& text, const QFormerNames& names, const Checkpoint& checkpoint, const Weights& w,
          const char* chat_template)
      : QueryVlm(text, text.d_model, names, checkpoint, w, chat_template) {}
};

// By text_config: QueryT5 for t5, else QueryDecoder.
std::unique_ptr<Model> make_query_vlm(const QFormerNames& names, const Checkpoint& checkpoint,
                                      const Weights& w, const char* chat_template);

}  // namespace vlm::blip
