// BLIP-2 [blip-2]: EVA ViT-g -> Q-Former with 32 queries -> linear -> OPT or Flan-T5.
// Paper: arXiv:2301.12597.  Reference: transformers Blip2ForConditionalGeneration,
// Blip2ForImageTextRetrieval; salesforce/LAVIS, lavis/models/blip2_models. Checkpoints:
// Salesforce/blip2-opt-{2.7b,6.7b}{,-coco}, blip2-flan-t5-{xl,xxl}, blip2-itm-vit-g.
//
//   pixels_13HW --ViT, post-norm--> states_1SV (S = 257) --Q-Former--> 1QH (Q = 32) --Linear--> rows_QD
//   second stage: rows_QD, </s>, prompt --OPT--> logits_TK, or rows_QD, prompt, </s> --T5--> logits_TK
//   first stage (blip_2_matching.cc): queries and words against each other
//
// V = 1408, H = 768, D = 2560 or 4096 (OPT), 2048 or 4096 (T5).
// Unusual: the picture stands in front of the beginning-of-text token; OPT's answers end at a newline; a
// picture without words is captioned.
#include "models/blip/blip_2_matching.h"
#include "models/blip/query_vlm.h"
#include "models/blip/systems.h"

namespace vlm::blip {

namespace {

// The prompt of the paper's appendix, one turn behind the other; no words: a caption.
constexpr char kTemplate[] =
    "{% for message in messages %}{% for part in message.content if part.type == 'text' and part.text %}"
    "{% if message.role == 'user' %}Question: {{ part.text }} Answer:"
    "{% elif message.role == 'assistant' %} {{ part.text }}. "
    "{% else %}{{ part.text }} {% endif %}{% endfor %}{% endfor %}";

constexpr char kGeneration[] = "Blip2ForConditionalGeneration";
constexpr char kMatching[] = "Blip2ForImageTextRetrieval";

}  // namespace

System blip_2() {
  return {.slug = "blip-2",
          .accepts =
              [](const Checkpoint& c) {
                return c.has_architecture(kGeneration) || c.has_architecture(kMatching);
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            if (c.has_architecture(kMatching)) return make_blip_2_matcher(c, w);
            return make_query_vlm(kBlip2QFormer, c, w, kTemplate);
          }};
}

}  // namespace vlm::blip
