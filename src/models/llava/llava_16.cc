// LLaVA-1.6 / LLaVA-NeXT [llava-1.6]: a base view and up to four tiles -> CLIP ViT-L/14-336 -> MLP -> Vicuna,
// Mistral or Nous-Hermes-2-Yi.
// Paper: blog "LLaVA-NeXT: Improved reasoning, OCR, and world knowledge" (January 2024).
// Reference: transformers LlavaNextForConditionalGeneration; haotian-liu/LLaVA@c121f04.
// Checkpoints: llava-hf/llava-v1.6-{vicuna,mistral}-7b-hf, -vicuna-13b-hf, -34b-hf,
// llava-hf/llama3-llava-next-8b-hf, liuhaotian/llava-v1.6-*, lmms-lab/llama3-llava-next-8b.
//
//   picture --best of 5 resolutions--> base view and tiles, N3HW --ClipVision--> hidden state -2 --MLP--> NPD
//   --base | tiles as a grid without padding, a newline behind each row--> image_ND --splice at <image>-->
//   LLaMA
//
// N <= 5 views, P = 24 x 24 tokens each, D = 4096, 5120 or 7168; at most 576 + 48 * 49 = 2928 tokens a
// picture. Unusual: the base view is squashed to a square, tiles keep the aspect and are padded with black
// before normalisation; padding is cut off again on the feature grid, where transformers rounds and the
// authors truncate: a row or column more or less. The tower was trained and is stored in the authors' files
// too.
#include "models/llava/layouts.h"
#include "models/llava/systems.h"
#include "models/llava/templates.h"
#include "models/llava/tiled.h"

namespace vlm::llava {

namespace {

Dialect dialect_of(const Checkpoint& checkpoint) {
  if (checkpoint.has_architecture("LlavaMistralForCausalLM") ||
      checkpoint.config.find("text_config").get("model_type", "llama") == "mistral")
    return {.default_template = mistral_instruct()};
  if (checkpoint.has_architecture("LlavaQwenForCausalLM"))
    return {.default_template = qwen_1_5(), .label = label_qwen};
  if (knows_token(checkpoint, "<|start_header_id|>")) return {.default_template = llama_3()};
  if (knows_token(checkpoint, "<|im_start|>")) return {.default_template = chatml_direct()};
  return {.default_template = llava_v1()};
}

}  // namespace

System llava_16() {
  return {.slug = "llava-1.6",
          .accepts =
              [](const Checkpoint& c) {
                return c.has_architecture("LlavaNextForConditionalGeneration") ||
                       (is_authors_tiled(c) && !has_limited_tiles(c));
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<TiledLlava>(config_of(c), c, w, dialect_of(c));
          },
          .layouts = layouts({"image_newline"})};
}

}  // namespace vlm::llava
