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
#include "models/llava/systems.h"

#include "models/llava/family.h"

namespace vlm::llava {

namespace {

// Used where a checkpoint publishes no template. Pictures stand first in their turn, as all three were
// trained.
#define VLM_LLAVA_TURNS(before_answer)                                                                \
  "{% for message in messages %}{% if message.role == 'user' %}USER: "                                \
  "{% for part in message.content if part.type == 'image' %}<image>\n{% endfor %}"                    \
  "{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}" before_answer \
  "{% elif message.role == 'assistant' %} {{ message.content[0].text }}</s>{% else %}{{ "             \
  "message.content[0].text }} "                                                                       \
  "{% endif %}{% endfor %}"

constexpr char kTemplate[] = VLM_LLAVA_TURNS(" ASSISTANT:");
constexpr char kBakllavaTemplate[] = VLM_LLAVA_TURNS("\nASSISTANT:");
constexpr char kFirellavaTemplate[] = VLM_LLAVA_TURNS("\n\nASSISTANT:");
// Vicuna's, with which the authors trained: a system sentence unless the chat brings its own.
constexpr char kAuthorsTemplate[] =
    "{% if messages[0].role != 'system' %}A chat between a curious user and an artificial intelligence "
    "assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. {% endif %}" VLM_LLAVA_TURNS(
        " ASSISTANT:");
#undef VLM_LLAVA_TURNS

bool is_authors(const Checkpoint& checkpoint) {
  return checkpoint.config.has("mm_vision_tower");
}

bool is_hugging_face(const Checkpoint& checkpoint) {
  return checkpoint.has_architecture("LlavaForConditionalGeneration") && !is_authors(checkpoint);
}

bool has_mistral(const Checkpoint& checkpoint) {
  return is_authors(checkpoint)
             ? checkpoint.has_architecture("LlavaMistralForCausalLM")
             : checkpoint.config.find("text_config").get("model_type", "llama") == "mistral";
}

// FireLLaVA's config.json equals LLaVA-1.5-13B's; only its name tells it apart.
bool is_named_firellava(const Checkpoint& checkpoint) {
  std::string name = checkpoint.name;
  for (char& letter : name) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return name.find("firellava") != std::string::npos;
}

// LLaVA-1.5 pads; 1.6 cuts tiles and stores a newline embedding.
bool is_single_view(const Checkpoint& checkpoint) {
  return !checkpoint.config.get("image_aspect_ratio", "pad").starts_with("anyres");
}

std::unique_ptr<Model> make(const Checkpoint& checkpoint, const Weights& w,
                            const char* hugging_face_template) {
  if (is_authors(checkpoint))
    return std::make_unique<Llava>(Config::authors(checkpoint), checkpoint, w, kAuthorsTemplate);
  return std::make_unique<Llava>(Config::hugging_face(checkpoint), checkpoint, w, hugging_face_template);
}

}  // namespace

System llava_15() {
  return {.slug = "llava-1.5",
          .accepts =
              [](const Checkpoint& c) {
                return (is_hugging_face(c) || (is_authors(c) && c.has_architecture("LlavaLlamaForCausalLM") &&
                                               is_single_view(c))) &&
                       !has_mistral(c) && !is_named_firellava(c);
              },
          .make = [](const Checkpoint& c, const Weights& w) { return make(c, w, kTemplate); },
          .layouts = layouts()};
}

System bakllava() {
  return {.slug = "bakllava",
          .accepts =
              [](const Checkpoint& c) {
                return (is_hugging_face(c) || (is_authors(c) && is_single_view(c))) && has_mistral(c);
              },
          .make = [](const Checkpoint& c, const Weights& w) { return make(c, w, kBakllavaTemplate); },
          .layouts = layouts()};
}

System firellava() {
  return {
      .slug = "firellava",
      .accepts =
          [](const Checkpoint& c) { return is_hugging_face(c) && !has_mistral(c) && is_named_firellava(c); },
      .make = [](const Checkpoint& c, const Weights& w) { return make(c, w, kFirellavaTemplate); },
      .layouts = layouts()};
}

}  // namespace vlm::llava
