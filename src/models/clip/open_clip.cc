// CLIP in open_clip's layout, of the systems [clip] and [metaclip]: the graph of clip.cc under other names.
// Reference: mlfoundations/open_clip, CLIP; facebookresearch/MetaCLIP, src/mini_clip.
// Checkpoints: MetaCLIP's own *.pt (tensors below "state_dict"), open_clip_pytorch_model.bin,
// open_clip_model.safetensors; sizes and picture statistics in open_clip_config.json.
//
//   pixels_B3HW --Vit, fused q k v--> class token, post-norm --@ visual.proj_VP--> L2 norm --> image_BP
//   ids_BT (T = 77) --causal text tower--> state at the largest id --@ text_projection_DP--> L2 norm -->
//   text_BP
//
// Unusual: texts are always padded to 77 with id 0, whatever the tokenizer's files say, and longer ones keep
// their end of text; MetaCLIP's own tokeniser cuts it off. The centre crop rounds as torchvision does.
#include "models/clip/systems.h"

#include <algorithm>

#include "parts/encoders/text_tower.h"
#include "parts/encoders/vit.h"
#include "parts/heads/contrastive.h"
#include "parts/processors/image_processor.h"
#include "parts/processors/text_batch.h"

namespace vlm::clip {

namespace {

// Towers of other kinds (timm, Hugging Face text models, attention pools) announce themselves by further
// keys.
void expect_plain(const Json& part, std::initializer_list<std::string_view> known) {
  for (const std::string& key : part.keys()) {
    Json value = part.at(key);
    bool is_off = value.is_null() || value.dump() == "false";
    if (!is_off && std::find(known.begin(), known.end(), key) == known.end())
      fail(ErrorKind::unsupported, "use the checkpoint's transformers layout if there is one",
           "{}: \"{}\" is not implemented for CLIP's towers", part.path(), key);
  }
}

ImageProcessor processor_from(const Json& preprocess, int64_t image_size) {
  ImageProcessor processor;
  processor.shortest_edge = image_size;  // open_clip, too, lets the model overrule "size"
  processor.crop_size = {image_size, image_size};
  processor.crop_rounds_to_even = true;
  processor.resample =
      preprocess.get("interpolation", "bicubic") == "bilinear" ? Filter::bilinear : Filter::bicubic;
  if (preprocess.has("resize_mode")) preprocess.require("resize_mode", "shortest");
  auto channels = [&](const char* key, std::array<double, 3> usual) {
    std::vector<double> values = preprocess.get(key, std::vector<double>(usual.begin(), usual.end()));
    if (values.size() != usual.size())
      fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
           "{}: {} has {} numbers, expected 3", preprocess.path(), key, values.size());
    std::copy(values.begin(), values.end(), usual.begin());
    return usual;
  };
  processor.image_mean = channels("mean", {0.48145466, 0.4578275, 0.40821073});
  processor.image_std = channels("std", {0.26862954, 0.26130258, 0.27577711});
  return processor;
}

class OpenClip final : public Model, public Embedder {
 public:
  OpenClip(const Checkpoint& checkpoint, const Weights& w) : tokenizer_(checkpoint.tokenizer) {
    Json model = checkpoint.config.at("model_cfg");
    Json vision = model.at("vision_cfg"), text = model.at("text_cfg");
    expect_plain(vision,
                 {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "patch_dropout"});
    expect_plain(
        text, {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "hf_tokenizer_name"});
    Act act = model.get("quick_gelu", false) ? Act::gelu_quick : Act::gelu_erf;
    VitConfig vision_config = VitConfig::open_clip(vision, act);
    TextTowerConfig text_config = TextTowerConfig::open_clip(text, act);
    context_length_ = text_config.max_position_embeddings;
    int64_t width = model.integer("embed_dim", 1, 1 << 16);
    vision_ = Vit(vision_config, w / "visual");
    text_ = TextTower(text_config, w);
    visual_projection_VP_ = w.take("visual.proj", {vision_config.encoder.hidden_size, width});
    text_projection_DP_ = w.take("text_projection", {text_config.encoder.hidden_size, width});
    logit_scale_ = w.take("logit_scale", {});
    processor_ = processor_from(checkpoint.config.find("preprocess_cfg"), vision_config.image_size);
    tokenizer_.info.pad_id = 0;
  }

  Tensor prepare_texts(const std::vector<std::string>& texts) const override {
    return fixed_batch(texts, tokenizer_, context_length_);
  }
  Tensor prepare_images(const std::vector<Image>& images) const override {
    return image_batch(images, processor_);
  }

  Tensor embed_texts(const Tensor& ids_BT) const override {
    return unit_rows(at::matmul(text_.pooled(ids_BT), text_projection_DP_));
  }
  Tensor embed_images(const Tensor& pixels_B3HW) const override {
    return unit_rows(at::matmul(vision_.pooled(pixels_B3HW), visual_projection_VP_));
  }
  Tensor logits_per_image(const Tensor& image_IP, const Tensor& text_TP) const override {
    return at::matmul(image_IP, text_TP.t()) * logit_scale_.exp();
  }
  Tensor probabilities(const Tensor& logits_per_image) const override {
    return at::softmax(logits_per_image, 1);
  }
  Tensor contrastive_loss(const Tensor& logits_per_image) const override {
    return symmetric_cross_entropy(logits_per_image);
  }

 private:
  Vit vision_;
  TextTower text_;
  int64_t context_length_ = 0;
  Tensor visual_projection_VP_, text_projection_DP_;
  Tensor logit_scale_;  // [], logarithm of the inverse temperature
  LoadedTokenizer tokenizer_;
  std::optional<ImageProcessor> processor_;
};

}  // namespace

bool is_open_clip(const Checkpoint& checkpoint) {
  return checkpoint.config.has("model_cfg");
}

std::unique_ptr<Model> make_open_clip(const Checkpoint& checkpoint, const Weights& w) {
  return std::make_unique<OpenClip>(checkpoint, w);
}

std::vector<std::vector<Rename>> open_clip_layouts() {
  return {{{"", "state_dict.module."}}, {{"", "state_dict."}}, {{"", "module."}}};
}

}  // namespace vlm::clip
