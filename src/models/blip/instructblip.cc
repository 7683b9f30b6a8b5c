// InstructBLIP [instructblip]: BLIP-2 whose Q-Former reads the instruction as well.
// Paper: arXiv:2305.06500.  Reference: transformers InstructBlipForConditionalGeneration; salesforce/LAVIS,
// lavis/models/blip2_models/blip2_{vicuna,t5}_instruct.py.
// Checkpoints: Salesforce/instructblip-{vicuna-7b,vicuna-13b,flan-t5-xl,flan-t5-xxl}.
//
//   pixels_13HW --ViT, post-norm--> states_1SV (S = 257)
//   queries_1QH, [CLS] instruction_W [SEP] --Q-Former, queries with cross-attention--> 1QH (Q = 32)
//   --Linear--> rows_QD;  rows_QD, </s>, instruction --Vicuna--> logits_TK, or T5 as in blip_2.cc
//
// V = 1408, H = 768, D = 4096 or 5120 (Vicuna), 2048 or 4096 (T5).
// Unusual: the same words pass through two tokenizers, the Q-Former's lying in qformer_tokenizer/; picture
// rows depend on the words; Vicuna's tokenizer begins a text with </s>.
#include "models/blip/query_vlm.h"
#include "models/blip/systems.h"

namespace vlm::blip {

namespace {

// Trained on single instructions: turns stand behind each other as they are.
constexpr char kTemplate[] =
    "{% for message in messages %}{% if not loop.first %} {% endif %}"
    "{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}{% endfor %}";

}  // namespace

System instructblip() {
  return {.slug = "instructblip",
          .accepts =
              [](const Checkpoint& c) { return c.has_architecture("InstructBlipForConditionalGeneration"); },
          .make = [](const Checkpoint& c,
                     const Weights& w) { return make_query_vlm(kInstructQFormer, c, w, kTemplate); }};
}

}  // namespace vlm::blip
