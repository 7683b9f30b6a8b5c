// T5 [t5]: the encoder-decoder language models that systems are made of, loaded from their own checkpoints.
// Paper: arXiv:1910.10683, 2010.11934 (mT5), 2210.11416 (Flan-T5).
// Reference: transformers T5ForConditionalGeneration, MT5ForConditionalGeneration,
// UMT5ForConditionalGeneration. Checkpoints: google-t5/t5-*, google/flan-t5-*, google/mt5-*, google/umt5-*.
//
//   ids_S --T5 encoder--> states_SD --T5 decoder--> logits_TK
//
// Unusual: UMT5 has relative positions in every layer, the others in the first one for all.
#include "models/common/spliced_t5.h"
#include "models/language/systems.h"

namespace vlm::language {

namespace {

constexpr char kPlainTemplate[] = "{% for message in messages %}{{ message.content[0].text }}{% endfor %}";
constexpr int64_t kNoPlaceholder = -1;

class T5Lm final : public SplicedT5 {
 public:
  T5Lm(const Checkpoint& checkpoint, const Weights& w)
      : SplicedT5(T5Config::from(checkpoint.config), w, checkpoint, kNoPlaceholder, kPlainTemplate) {}
  Tensor encode(const MediaInput&) const override { return Tensor(); }
  PartNames part_names() const override { return {"", "", "*"}; }

 private:
  MediaInput prepare_image(const Image&, const Request&) const override {
    fail(ErrorKind::bad_request, "ask a vision-language model",
         "this is a language model without a vision tower, and a picture was given");
  }
};

}  // namespace

System t5() {
  return {.slug = "t5",
          .accepts =
              [](const Checkpoint& c) {
                return c.has_architecture("T5ForConditionalGeneration") ||
                       c.has_architecture("T5WithLMHeadModel") ||
                       c.has_architecture("MT5ForConditionalGeneration") ||
                       c.has_architecture("UMT5ForConditionalGeneration");
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<T5Lm>(c, w);
          }};
}

}  // namespace vlm::language
