// LLaVA-1.5 [llava-1.5]: CLIP ViT-L/14-336 -> two-layer MLP -> Vicuna (Llama 2).
// Paper: arXiv:2310.03744.  Reference: transformers LlavaForConditionalGeneration; haotian-liu/LLaVA.
// Checkpoints: llava-hf/llava-1.5-{7b,13b}-hf, liuhaotian/llava-v1.5-{7b,13b}; the same class holds any tower
// and language model.
//
//   pixels_N3HW --ClipVision--> hidden state -2, NSV --drop the class token--> NPV --MLP--> image_NPD
//   ids_T --embed--> x_TD --splice at <image>--> x_TD --LLaMA--> logits_TK
//
// P = (336 / 14)^2 = 576 image tokens, V = 1024, D = 4096 or 5120, K = 32064.
// Unusual: features leave the tower before its last block and final norm; select "default" drops the first
// position even of towers without a class token; the authors' layout names its tower instead of storing it,
// and pads pictures to squares.
//
// BakLLaVA [bakllava]: the same graph on Mistral-7B (grouped queries, sliding window).
// FireLLaVA [firellava]: LLaVA-1.5-13B trained on permissive data, with a prompt of its own and no published
// chat template.
#include "models/llava/family.h"
#include "models/llava/layouts.h"
#include "models/llava/systems.h"
#include "models/llava/templates.h"

namespace vlm::llava {

namespace {

bool is_hugging_face(const Checkpoint& checkpoint) {
  return checkpoint.has_architecture("LlavaForConditionalGeneration") && !is_authors(checkpoint);
}

bool has_mistral(const Checkpoint& checkpoint) {
  return is_authors(checkpoint)
             ? checkpoint.has_architecture("LlavaMistralForCausalLM")
             : checkpoint.config.find("text_config").get("model_type", "llama") == "mistral";
}

// FireLLaVA's config.json equals LLaVA-1.5-13B's; only its name tells it apart.
bool is_firellava(const Checkpoint& checkpoint) {
  return names(checkpoint, "firellava");
}

// Mantis-8B-{siglip,clip}-llama3: the same graph with prompts of its own.
bool is_mantis(const Checkpoint& checkpoint) {
  return names(checkpoint, "mantis") ||
         checkpoint.preprocessor.get("processor_class", "") == "MLlavaProcessor";
}

std::unique_ptr<Model> make(const Checkpoint& checkpoint, const Weights& w, const char* before_answer) {
  return std::make_unique<Llava>(
      config_of(checkpoint), checkpoint, w,
      Dialect{.default_template = is_authors(checkpoint) ? vicuna_v1() : user_assistant(before_answer)});
}

}  // namespace

System llava_15() {
  return {.slug = "llava-1.5",
          .accepts =
              [](const Checkpoint& c) {
                return (is_hugging_face(c) || (is_authors_single_view(c) && has_mlp_projector(c) &&
                                               c.has_architecture("LlavaLlamaForCausalLM"))) &&
                       !has_mistral(c) && !is_firellava(c) && !is_mantis(c);
              },
          .make = [](const Checkpoint& c, const Weights& w) { return make(c, w, " ASSISTANT:"); },
          .layouts = layouts()};
}

System bakllava() {
  return {.slug = "bakllava",
          .accepts =
              [](const Checkpoint& c) {
                return (is_hugging_face(c) || (is_authors_single_view(c) && !has_siglip_inside_clip(c))) &&
                       has_mistral(c);
              },
          .make = [](const Checkpoint& c, const Weights& w) { return make(c, w, "\nASSISTANT:"); },
          .layouts = layouts()};
}

System firellava() {
  return {
      .slug = "firellava",
      .accepts = [](const Checkpoint& c) { return is_hugging_face(c) && !has_mistral(c) && is_firellava(c); },
      .make = [](const Checkpoint& c, const Weights& w) { return make(c, w, "\n\nASSISTANT:"); },
      .layouts = layouts()};
}

}  // namespace vlm::llava
