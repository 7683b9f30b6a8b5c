// CLIP [clip]: a picture tower and a text tower meet in one space.
// Paper: arXiv:2103.00020.  Reference: transformers CLIPModel; openai/CLIP.
// Checkpoints: openai/clip-vit-{base-patch32,base-patch16,large-patch14,large-patch14-336}.
//
//   pixels_B3HW --Vit--> class token, post-norm --visual_projection--> L2 norm --> image_BD
//   ids_BT --causal text tower--> state at the end of text --text_projection--> L2 norm --> text_BD
//   logits_per_image = exp(logit_scale) * image . text^T
//
// Unusual: text_config_dict, where present, wins over text_config (and the vision part likewise); files with
// eos_token_id 2 pool at the largest id.
//
// MetaCLIP [metaclip]: the same graph trained on curated data; facebook/metaclip-*, configs that leave out
// CLIP's defaults; its own *.pt files in open_clip's layout (open_clip.cc).
#include "models/clip/systems.h"

#include <cctype>
#include <nlohmann/json.hpp>

#include "models/clip/open_clip.h"
#include "parts/encoders/text_tower.h"
#include "parts/encoders/vit.h"
#include "parts/heads/contrastive.h"
#include "parts/processors/image_processor.h"
#include "parts/processors/text_batch.h"

namespace vlm::clip {

namespace {

Json part_config(const Json& config, const std::string& part) {
  Json dictionary = config.find(part + "_dict");
  return dictionary.is_null() ? config.find(part) : dictionary;
}

class Clip final : public Model, public Embedder {
 public:
  Clip(const Checkpoint& checkpoint, const Weights& w)
      : text_config_(TextTowerConfig::clip(part_config(checkpoint.config, "text_config"))),
        vision_config_(VitConfig::clip(part_config(checkpoint.config, "vision_config"))),
        text_(text_config_, w / "text_model"),
        vision_(vision_config_, w / "vision_model"),
        tokenizer_(checkpoint.tokenizer) {
    int64_t width = checkpoint.config.integer("projection_dim", 1, 1 << 16, 512);
    text_projection_ =
        nn::Linear(w / "text_projection", text_config_.encoder.hidden_size, width, nn::Bias::none);
    visual_projection_ =
        nn::Linear(w / "visual_projection", vision_config_.encoder.hidden_size, width, nn::Bias::none);
    logit_scale_ = w.take("logit_scale", {});
    if (!checkpoint.preprocessor.is_null()) processor_ = ImageProcessor::from(checkpoint.preprocessor);
  }

  Tensor prepare_texts(const std::vector<std::string>& texts) const override {
    return longest_batch(texts, tokenizer_, text_config_.max_position_embeddings);
  }
  Tensor prepare_images(const std::vector<Image>& images) const override {
    return image_batch(images, processor_);
  }

  Tensor embed_texts(const Tensor& ids_BT) const override {
    return unit_rows(text_projection_(text_.pooled(ids_BT)));
  }
  Tensor embed_images(const Tensor& pixels_B3HW) const override {
    return unit_rows(visual_projection_(vision_.pooled(pixels_B3HW)));
  }
  Tensor logits_per_image(const Tensor& image_ID, const Tensor& text_TD) const override {
    return at::matmul(image_ID, text_TD.t()) * logit_scale_.exp();
  }
  Tensor probabilities(const Tensor& logits_per_image) const override {
    return at::softmax(logits_per_image, 1);
  }
  Tensor contrastive_loss(const Tensor& logits_per_image) const override {
    return symmetric_cross_entropy(logits_per_image);
  }

 private:
  TextTowerConfig text_config_;
  VitConfig vision_config_;
  TextTower text_;
  Vit vision_;
  nn::Linear text_projection_, visual_projection_;
  Tensor logit_scale_;  // [], logarithm of the inverse temperature
  LoadedTokenizer tokenizer_;
  std::optional<ImageProcessor> processor_;
};

bool is_clip(const Checkpoint& checkpoint) {
  return checkpoint.has_architecture("CLIPModel") || checkpoint.config.get("model_type", "") == "clip" ||
         is_open_clip(checkpoint);
}

bool is_named_metaclip(const Checkpoint& checkpoint) {
  std::string name = checkpoint.name;
  for (char& letter : name) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return name.find("metaclip") != std::string::npos;
}

std::unique_ptr<Model> make(const Checkpoint& checkpoint, const Weights& w) {
  if (is_open_clip(checkpoint)) return make_open_clip(checkpoint, w);
  return std::make_unique<Clip>(checkpoint, w);
}

}  // namespace

System clip() {
  return {.slug = "clip",
          .accepts = [](const Checkpoint& c) { return is_clip(c) && !is_named_metaclip(c); },
          .make = make,
          .layouts = open_clip_layouts()};
}

System metaclip() {
  return {.slug = "metaclip",
          .accepts = [](const Checkpoint& c) { return is_clip(c) && is_named_metaclip(c); },
          .make = make,
          .layouts = open_clip_layouts()};
}

}  // namespace vlm::clip
