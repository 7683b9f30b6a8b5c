// BLIP [blip]: one BERT-shaped stack, with cross-attention to a ViT, as captioner, answerer and matcher.
// Paper: arXiv:2201.12086.  Reference: transformers BlipForConditionalGeneration, BlipForQuestionAnswering,
// BlipForImageTextRetrieval; salesforce/BLIP.
// Checkpoints: Salesforce/blip-image-captioning-{base,large}, blip-vqa-{base,capfilt-large},
// blip-itm-{base,large}-{coco,flickr}.
//
//   pixels_13HW --ViT--> states_SV (all tokens, S = 577)
//   captioning (captioner.cc):  [DEC] words_T --BERT decoder, cross-attention to states_SV--> logits_TK
//   questions (answerer.cc):    words_W --BERT encoder, cross-attention to states_SV--> question_WD
//                               [DEC] --BERT decoder, cross-attention to question_WD--> logits_TK
//   matching (matcher.cc):      words_W --BERT encoder--> [CLS] --text_proj--> text_C . image_C, or
//                               words_W --BERT encoder, cross-attention--> [CLS] --itm_head--> no, yes
//
// V = 768 or 1024, D = 768, C = 256, K = 30524.
// Unusual: [DEC] and [ENC] are ids behind the tokenizer's vocabulary; answers end at [SEP], whatever
// eos_token_id says; answers are made from the question's states and never see the picture itself.
#include "models/blip/family.h"
#include "models/blip/systems.h"

namespace vlm::blip {

namespace {

constexpr char kCaptions[] = "BlipForConditionalGeneration";
constexpr char kQuestions[] = "BlipForQuestionAnswering";
constexpr char kMatching[] = "BlipForImageTextRetrieval";

}  // namespace

System blip() {
  return {.slug = "blip",
          .accepts =
              [](const Checkpoint& c) {
                return c.has_architecture(kCaptions) || c.has_architecture(kQuestions) ||
                       c.has_architecture(kMatching);
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            if (c.has_architecture(kCaptions)) return make_captioner(c, w);
            if (c.has_architecture(kQuestions)) return make_answerer(c, w);
            return make_matcher(c, w);
          }};
}

}  // namespace vlm::blip
