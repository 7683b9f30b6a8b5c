// BLIP as matcher, of the system [blip]: pictures and texts as vectors, and a head that reads both together.
// Reference: transformers BlipForImageTextRetrieval; salesforce/BLIP, models/blip_itm.py, blip_retrieval.py.
//
//   pixels_I3HW --ViT--> states_ISV --class token, vision_proj--> L2 norm --> image_IC
//   words_BT --BERT without cross-attention--> [CLS] --text_proj--> L2 norm --> text_BC; logits = cosines
//   words_BT --BERT, cross-attention to states_SV--> [CLS] --itm_head--> itm_B2 (no match, match)
//
// Losses (blip_retrieval.py without its momentum encoder and queues, which published files leave out):
// contrast of the batch at temperature 0.07, matching of right pairs against the most similar wrong ones.
// Unusual: the temperature is not published; scores are plain cosines. Matching is trained with [ENC] as
// first token and used, by the reference and the authors' demonstration, with [CLS].
#include "models/blip/family.h"
#include "parts/heads/contrastive.h"
#include "parts/processors/text_batch.h"

namespace vlm::blip {

namespace {

constexpr double kFirstTemperature = 0.07;

class Matcher final : public Model, public PairScorer, public PairTrainable {
 public:
  Matcher(const Checkpoint& checkpoint, const Weights& w)
      : vision_config_(VitConfig::blip(checkpoint.config.find("vision_config"))),
        ids_(TextIds::from(checkpoint.config.find("text_config"))),
        vision_(vision_config_, w / "vision_model"),
        text_(BertConfig::blip(checkpoint.config.find("text_config"), vision_config_.encoder.hidden_size),
              w / "text_encoder"),
        tokenizer_(checkpoint.tokenizer),
        processor_(processor_of(checkpoint)) {
    int64_t width = text_.config().hidden_size;
    int64_t common = checkpoint.config.integer("image_text_hidden_size", 1, 1 << 16, 256);
    vision_proj_ = nn::Linear(w / "vision_proj", vision_config_.encoder.hidden_size, common, nn::Bias::yes);
    text_proj_ = nn::Linear(w / "text_proj", width, common, nn::Bias::yes);
    itm_head_ = nn::Linear(w / "itm_head", width, 2, nn::Bias::yes);
    temperature_ = at::full({}, kFirstTemperature);
    if (w.options().trainable || w.has("temp"))
      temperature_ = w.take_or_make("temp", {}, [&] { return temperature_; });
  }

  Tensor prepare_texts(const std::vector<std::string>& texts) const override {
    return longest_batch(texts, tokenizer_, text_.config().max_position_embeddings);
  }
  Tensor prepare_images(const std::vector<Image>& images) const override {
    return image_batch(images, processor_);
  }
  Tensor embed_images(const Tensor& pixels_I3HW) const override {
    return image_vectors(vision_.last_hidden_state(pixels_I3HW));
  }
  Tensor embed_texts(const Tensor& ids_BT) const override { return unit_rows(text_proj_(read(ids_BT, {}))); }
  Tensor logits_per_image(const Tensor& image_IC, const Tensor& text_BC) const override {
    return at::matmul(image_IC, text_BC.t());
  }
  Tensor probabilities(const Tensor& logits_per_image) const override {
    return at::softmax(logits_per_image / temperature_, 1);
  }
  Tensor contrastive_loss(const Tensor& logits_per_image) const override {
    return symmetric_cross_entropy(logits_per_image / temperature_);
  }
  Tensor itm_logits(const Tensor& pixels_I3HW, const Tensor& ids_BT) const override {
    Tensor states_ISV = vision_.last_hidden_state(pixels_I3HW);
    check_pairs(states_ISV.size(0), ids_BT.size(0));
    return itm_head_(read(ids_BT, states_ISV));
  }

  PairLosses pair_losses(const Tensor& pixels_B3HW, const Tensor& ids_BT) const override {
    Tensor states_BSV = vision_.last_hidden_state(pixels_B3HW);
    Tensor logits_BB = logits_per_image(image_vectors(states_BSV), embed_texts(ids_BT));
    PairLosses losses;
    losses.parts["itc"] = contrastive_loss(logits_BB);

    Tensor marked_BT = ids_BT.clone();
    marked_BT.select(1, 0).fill_(ids_.match);
    losses.parts["itm"] = matching_loss(
        logits_BB / temperature_, states_BSV, marked_BT,
        [&](const Tensor& states, const Tensor& texts) { return itm_head_(read(texts, states)); });
    losses.loss = losses.parts["itc"] + losses.parts["itm"];
    return losses;
  }

 private:
  Tensor image_vectors(const Tensor& states_ISV) const {
    return unit_rows(vision_proj_(states_ISV.select(1, 0)));
  }
  // The state of every text's first token, [B, D]; states of one picture for all, of one for each, or none.
  Tensor read(const Tensor& ids_BT, const Tensor& states_BSV) const {
    PackedTexts texts(ids_BT, ids_.pad);
    std::vector<CrossMemory> memories;
    for (int64_t idx = 0; states_BSV.defined() && idx < ids_BT.size(0); ++idx)
      memories.push_back(idx > 0 && states_BSV.size(0) == 1 ? memories[0] : text_.remember(states_BSV[idx]));
    Tensor x_TD = text_.embed(texts.ids_T, texts.packed.positions());
    return texts.first(text_.forward(x_TD, texts.packed, /*is_causal=*/false, memories));
  }

  VitConfig vision_config_;
  TextIds ids_;
  Vit vision_;
  Bert text_;
  nn::Linear vision_proj_, text_proj_, itm_head_;
  Tensor temperature_;  // []
  LoadedTokenizer tokenizer_;
  std::optional<ImageProcessor> processor_;
};

}  // namespace

std::unique_ptr<Model> make_matcher(const Checkpoint& checkpoint, const Weights& w) {
  return std::make_unique<Matcher>(checkpoint, w);
}

}  // namespace vlm::blip
