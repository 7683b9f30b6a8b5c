// SigLIP [siglip]: dual encoder trained with a sigmoid loss for every pair.
// Paper: arXiv:2303.15343.  Reference: transformers SiglipModel; google-research/big_vision.
// Checkpoints: google/siglip-{base,large}-patch16-*, google/siglip-so400m-patch14-*.
//
//   pixels_B3HW --Vit without class token--> attention pool by one learnt query --> L2 norm --> image_BD
//   ids_BT (T = 64) --bidirectional text tower--> last position --head--> L2 norm --> text_BD
//   logits_per_image = exp(logit_scale) * image . text^T + logit_bias
//
// Unusual: texts are canonicalised and always padded to 64 with </s>, and nothing masks the padding; a
// picture side that is no multiple of the patch loses its last pixels (384 / 14).
#include <optional>

#include "models/clip/systems.h"
#include "parts/encoders/text_tower.h"
#include "parts/encoders/vit.h"
#include "parts/heads/contrastive.h"
#include "parts/processors/image_processor.h"
#include "parts/processors/text_batch.h"

namespace vlm::clip {

namespace {

class Siglip final : public Model, public Embedder {
 public:
  Siglip(const Checkpoint& checkpoint, const Weights& w)
      : text_config_(TextTowerConfig::siglip(checkpoint.config.find("text_config"))),
        text_(text_config_, w / "text_model"),
        vision_(VitConfig::siglip(checkpoint.config.find("vision_config")), w / "vision_model"),
        tokenizer_(checkpoint.tokenizer) {
    int64_t width = text_config_.encoder.hidden_size;
    text_head_ = nn::Linear(
        w / "text_model.head", width,
        checkpoint.config.find("text_config").integer("projection_size", 1, 1 << 16, width), nn::Bias::yes);
    logit_scale_ = w.take("logit_scale", {1});
    logit_bias_ = w.take("logit_bias", {1});
    if (!checkpoint.preprocessor.is_null()) processor_ = ImageProcessor::from(checkpoint.preprocessor);
  }

  Tensor prepare_texts(const std::vector<std::string>& texts) const override {
    return fixed_batch(texts, tokenizer_, text_config_.max_position_embeddings);
  }
  Tensor prepare_images(const std::vector<Image>& images) const override {
    return image_batch(images, processor_);
  }

  Tensor embed_texts(const Tensor& ids_BT) const override {
    return unit_rows(text_head_(text_.pooled(ids_BT)));
  }
  Tensor embed_images(const Tensor& pixels_B3HW) const override {
    return unit_rows(vision_.pooled(pixels_B3HW));
  }
  Tensor logits_per_image(const Tensor& image_ID, const Tensor& text_TD) const override {
    return at::matmul(image_ID, text_TD.t()) * logit_scale_.exp() + logit_bias_;
  }
  Tensor probabilities(const Tensor& logits_per_image) const override {
    return at::sigmoid(logits_per_image);
  }
  Tensor contrastive_loss(const Tensor& logits_per_image) const override {
    return pairwise_sigmoid_loss(logits_per_image);
  }

 private:
  TextTowerConfig text_config_;
  TextTower text_;
  Vit vision_;
  nn::Linear text_head_;
  Tensor logit_scale_, logit_bias_;  // [1]
  LoadedTokenizer tokenizer_;
  std::optional<ImageProcessor> processor_;
};

}  // namespace

System siglip() {
  return {.slug = "siglip",
          .accepts =
              [](const Checkpoint& c) {
                return c.has_architecture("SiglipModel") || c.config.get("model_type", "") == "siglip";
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<Siglip>(c, w);
          }};
}

}  // namespace vlm::clip
