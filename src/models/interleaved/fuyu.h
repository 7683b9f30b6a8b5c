// What Fuyu's graph is made of: patches of a picture are projected straight into the decoder's width.
//
//   patches_PU --Linear--> rows_PD --in the places of |SPEAKER|--> x_TD --CausalDecoder (Persimmon)-->
//   logits_TK
//
// P patches row by row, U = side * side * 3 values of one (channel fastest), T tokens, D width, K vocabulary.
#pragma once

#include "models/common/spliced.h"
#include "parts/processors/image_processor.h"
#include "system/answer_stream.h"

namespace vlm::interleaved {

// preprocessor_config.json of Fuyu: pictures keep their size unless they exceed the canvas.
struct FuyuProcessor {
  int64_t height = 1080;  // of the canvas
  int64_t width = 1920;
  int64_t side = 30;         // of a patch
  double padding_value = 1;  // on the scale of bytes
  ImageProcessor values;

  static FuyuProcessor from(const Json& preprocessor_config, int64_t patch_side);

  double scale_of(const Image& image) const;        // 1, or what makes it fit the canvas
  MediaInput operator()(const Image& image) const;  // patches [P, U] and how they lie
};

class Fuyu : public SplicedGenerator, public AnswerReader, public AnswerStreamer {
 public:
  Fuyu(const Checkpoint& checkpoint, const Weights& w, const char* default_template,
       SplicedArgs args = {.image_mark = ""});

  Prompt prepare(const Request& request) const override;
  Prompt prepare_example(const Request& request) const override;
  Tensor encode(const MediaInput& media) const override;
  PartNames part_names() const override { return {"", "*vision_embed_tokens*", "*language_model*"}; }

  std::string readable_text(const Tokenizer& tokenizer, std::span<const int64_t> ids,
                            const Request& request) const override;
  ParsedAnswer read_answer(const std::string& text, const Request& request) const override;
  std::string settled_text(const std::string& text, const Request& request) const override;

 protected:
  MediaInput prepare_image(const Image& image, const Request& request) const override;
  std::string expand_text(std::string text, const std::vector<MediaInput>& media) const override;
  std::vector<int64_t> tokenise(const std::string& text) const override;
  std::optional<std::vector<int64_t>> target_ids(const std::string& target,
                                                 const std::vector<MediaInput>& media) const override;
  void expand_ids(Prompt& prompt) const override;

  // The ids of patch_marks() that `text` begins with, which are removed from it.
  void add_patches(std::string_view& text, std::vector<int64_t>& ids) const;
  int64_t token(const std::string& piece) const;  // throws bad_checkpoint when the vocabulary lacks it
  // Text with places between their marks; each run of text is tokenised by itself.
  void add_text(const std::string& text, std::vector<int64_t>& ids) const;

 private:
  Request with_regions(const Request& request) const;

  nn::Linear patch_embed_;
  std::optional<FuyuProcessor> processor_;
};

// |SPEAKER| for every patch, |NEWLINE| behind every row of them.
std::string patch_marks(const MediaInput& media);
// By how much the picture was shrunk.
double fuyu_scale(const MediaInput& media);

// The other layouts these checkpoints are published in.
std::vector<std::vector<Rename>> fuyu_layouts();

}  // namespace vlm::interleaved
