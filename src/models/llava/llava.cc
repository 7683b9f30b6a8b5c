// LLaVA, the first generation [llava]: CLIP ViT-L/14 -> one linear layer -> Vicuna, LLaMA-2-Chat or
// MPT-7B-Chat. Paper: arXiv:2304.08485.  Reference: haotian-liu/LLaVA@c121f04 (LlavaLlamaForCausalLM,
// LlavaMptForCausalLM). Checkpoints: liuhaotian/LLaVA-{7b,13b}-delta-v0, -13b-delta-v1-1,
// -Lightning-7B-delta-v1-1 (differences to LLaMA:
// `--base`), LLaVA-Lightning-MPT-7B-preview, llava-llama-2-13b-chat-lightning-preview.
//
//   pixels_N3HW --ClipVision--> hidden state -2, NSV --drop the class token--> NPV --Linear--> image_NPD
//   ids_T --embed--> x_TD --splice at <image>--> x_TD --LLaMA or MPT--> logits_TK
//
// P = (224 / 14)^2 = 256 image tokens (576 at 336 pixels), V = 1024, D = 4096 or 5120.
// Unusual: pictures are cropped to their middle; most checkpoints mark a picture by the tokens <im_start> and
// <im_end>, whose embeddings were learnt; the prompt's form is told by the checkpoint's name alone, as in the
// authors' programs.
#include "models/llava/family.h"
#include "models/llava/layouts.h"
#include "models/llava/systems.h"
#include "models/llava/templates.h"

namespace vlm::llava {

namespace {

bool is_first_generation(const Checkpoint& c) {
  bool is_known = c.has_architecture("LlavaLlamaForCausalLM") || c.has_architecture("LlavaMptForCausalLM") ||
                  c.has_architecture("LlavaMPTForCausalLM");
  return is_known && is_authors_single_view(c) && !has_mlp_projector(c);
}

Dialect dialect_of(const Checkpoint& c) {
  if (names(c, "llama-2")) return {.default_template = llava_llama_2()};
  if (names(c, "v1")) return {.default_template = llava_v1()};
  if (names(c, "mpt") || knows_token(c, "<|im_start|>")) return {.default_template = mpt()};
  return {.default_template = llava_v0(), .stop_strings = {"###"}, .label = label_v0};
}

}  // namespace

System llava_first() {
  return {.slug = "llava",
          .accepts = is_first_generation,
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<Llava>(config_of(c), c, w, dialect_of(c));
          },
          .layouts = layouts()};
}

}  // namespace vlm::llava
