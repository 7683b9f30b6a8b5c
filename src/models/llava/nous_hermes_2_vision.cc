// Nous-Hermes-2-Vision [nous-hermes-2-vision]: SigLIP-SO400M/14-384 in CLIP's class -> two-layer MLP ->
// OpenHermes-2.5-Mistral-7B, trained to fill in JSON objects.
// No paper; model card of December 2023.  Reference: qnguyen3/hermes-llava@2765a0e.
// Checkpoints: NousResearch/Nous-Hermes-2-Vision-Alpha with the tower ikala/ViT-SO400M-14-SigLIP-384-hf.
//
//   pixels_N3HW --tower--> hidden state -2, NSV --drop the first token--> NPV --MLP--> image_NPD
//   ids_T --embed--> x_TD --splice at <image>--> x_TD --Mistral--> logits_TK
//   "<fn_call>{schema}" in the question --> an object of that schema as the answer --> ParsedAnswer::calls
//
// P = (384 / 14)^2 = 729 image tokens, V = 1152, D = 4096, K = 32002.
// Unusual: the tower holds SigLIP's weights under CLIP's names with a class token and a norm in front, its
// activation is the tanh form; the prompt is Vicuna's although the language model speaks ChatML.
#include "models/llava/family.h"
#include "models/llava/function_call.h"
#include "models/llava/layouts.h"
#include "models/llava/systems.h"
#include "models/llava/templates.h"
#include "system/answer_stream.h"

namespace vlm::llava {

namespace {

class NousHermes2Vision final : public Llava, public AnswerReader, public AnswerStreamer {
 public:
  using Llava::Llava;

  ParsedAnswer read_answer(const std::string& text, const Request& request) const override {
    return read_function_call(last_question(request), text);
  }

  // The text around a call stands in front of and behind an object that may be nested: it waits for the end.
  std::string settled_text(const std::string& text, const Request& request) const override {
    return asks_for_call(last_question(request)) ? "" : text;
  }
};

}  // namespace

System nous_hermes_2_vision() {
  return {
      .slug = "nous-hermes-2-vision",
      .accepts = [](const Checkpoint& c) { return is_authors_single_view(c) && has_siglip_inside_clip(c); },
      .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
        return std::make_unique<NousHermes2Vision>(
            config_of(c), c, w, Dialect{.default_template = vicuna_v1(), .stop_strings = {"</s>"}});
      },
      .layouts = layouts()};
}

}  // namespace vlm::llava
