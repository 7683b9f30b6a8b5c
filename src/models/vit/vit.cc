// ViT [vit]: a transformer over picture patches with a class token, and a linear classifier.
// Paper: arXiv:2010.11929.  Reference: transformers ViTForImageClassification, ViTModel.
// Checkpoints: google/vit-{base,large,huge}-patch*: classifiers, and backbones with a pooler (in21k).
//
//   pixels_B3HW --Vit--> BSV --layernorm--> class token_BV --classifier--> class_logits_BC
//                                                          --pooler, tanh--> pooled_BV (backbones)
//
// Unusual: epsilon 1e-12; a classifier's names start with "vit.", a backbone's do not.
#include "models/vit/systems.h"

#include "parts/encoders/vit.h"
#include "parts/heads/contrastive.h"
#include "parts/processors/image_processor.h"
#include "parts/processors/text_batch.h"

namespace vlm::vit {

namespace {

std::vector<std::string> names_from(const Json& id2label, int64_t fallback) {
  std::vector<std::string> names(static_cast<size_t>(id2label.is_null() ? fallback : id2label.size()));
  for (size_t idx = 0; idx < names.size(); ++idx)
    names[idx] = id2label.is_null() ? "class " + std::to_string(idx)
                                    : id2label.at(std::to_string(idx)).as<std::string>();
  return names;
}

class Classes final : public Model, public Classifier {
 public:
  Classes(const Checkpoint& checkpoint, const Weights& w)
      : config_(VitConfig::vit(checkpoint.config)),
        vision_(config_, w / "vit"),
        class_names_(names_from(checkpoint.config.find("id2label"),
                                checkpoint.config.integer("num_labels", 1, 1 << 24, 2))),
        classifier_(w / "classifier", config_.encoder.hidden_size, static_cast<int64_t>(class_names_.size()),
                    nn::Bias::yes) {
    if (!checkpoint.preprocessor.is_null()) processor_ = ImageProcessor::from(checkpoint.preprocessor);
  }

  Tensor prepare_images(const std::vector<Image>& images) const override {
    return image_batch(images, processor_);
  }
  Tensor class_logits(const Tensor& pixels_B3HW) const override {
    return classifier_(vision_.pooled(pixels_B3HW));
  }
  std::vector<std::string> class_names() const override { return class_names_; }

 private:
  VitConfig config_;
  Vit vision_;
  std::vector<std::string> class_names_;
  nn::Linear classifier_;
  std::optional<ImageProcessor> processor_;
};

class Backbone final : public Model, public ImageEmbedder {
 public:
  Backbone(const Checkpoint& checkpoint, const Weights& w)
      : config_(VitConfig::vit(checkpoint.config)), vision_(config_, w) {
    int64_t width = config_.encoder.hidden_size;
    if (w.has("pooler.dense.weight")) pooler_ = nn::Linear(w / "pooler.dense", width, width, nn::Bias::yes);
    if (!checkpoint.preprocessor.is_null()) processor_ = ImageProcessor::from(checkpoint.preprocessor);
  }

  Tensor prepare_images(const std::vector<Image>& images) const override {
    return image_batch(images, processor_);
  }
  Tensor embed_images(const Tensor& pixels_B3HW) const override {
    Tensor token_BV = vision_.pooled(pixels_B3HW);
    return unit_rows(pooler_.defined() ? at::tanh(pooler_(token_BV)) : token_BV);
  }

 private:
  VitConfig config_;
  Vit vision_;
  nn::Linear pooler_;
  std::optional<ImageProcessor> processor_;
};

}  // namespace

System vit() {
  return {.slug = "vit",
          .accepts = [](const Checkpoint& c) { return c.config.get("model_type", "") == "vit"; },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            if (c.has_architecture("ViTModel")) return std::make_unique<Backbone>(c, w);
            return std::make_unique<Classes>(c, w);
          }};
}

}  // namespace vlm::vit
