// BLIP-2's first stage, of the system [blip-2]: a Q-Former that reads pictures and words, before it meets a
// language model.
// Reference: transformers Blip2ForImageTextRetrieval; salesforce/LAVIS, blip2_qformer.py.
//
//   queries_1QH --Q-Former, cross-attention to states_ISV--> vision_projection --> L2 norm --> image_IQC
//   words_BT --Q-Former, words alone--> [CLS] --text_projection--> L2 norm --> text_BC
//   logits = the largest cosine over the queries
//   queries, words --Q-Former, queries with cross-attention--> queries --itm_head--> mean of them --> itm_B2
//   queries, [DEC] words --Q-Former, words behind words--> cls.predictions --> logits_TK
//
// Losses (blip2_qformer.py): contrast, matching against wrong partners, captions; contrast and captions with
// label smoothing 0.1. The temperature ("temp") and the caption head ("cls.predictions") are the authors' and
// not in the converted files: contrast then starts at 0.07, and captions are learnt only where the head is
// stored.
// Unusual: a picture has Q vectors.
#include "models/blip/blip_2_matching.h"

#include "models/blip/family.h"
#include "parts/connectors/qformer.h"
#include "parts/heads/contrastive.h"
#include "parts/processors/text_batch.h"

namespace vlm::blip {

namespace {

constexpr double kFirstTemperature = 0.07;
constexpr double kSmoothing = 0.1;
constexpr char kStart[] = "[DEC]";

class Blip2Matcher final : public Model, public PairScorer, public PairTrainable {
 public:
  Blip2Matcher(const Checkpoint& checkpoint, const Weights& w)
      : vision_config_(VitConfig::blip(checkpoint.config.find("vision_config"))),
        vision_(vision_config_, w / "vision_model"),
        qformer_(QFormerConfig::from(checkpoint.config.find("qformer_config"),
                                     checkpoint.config.integer("num_query_tokens", 1, 1 << 12, 32),
                                     vision_config_.encoder.hidden_size),
                 kBlip2TextQFormer, w),
        tokenizer_(checkpoint.tokenizer),
        processor_(processor_of(checkpoint)) {
    const BertConfig& bert = qformer_.config().bert;
    int64_t common = checkpoint.config.integer("image_text_hidden_size", 1, 1 << 16, 256);
    vision_projection_ = nn::Linear(w / "vision_projection", bert.hidden_size, common, nn::Bias::yes);
    text_projection_ = nn::Linear(w / "text_projection", bert.hidden_size, common, nn::Bias::yes);
    itm_head_ = nn::Linear(w / "itm_head", bert.hidden_size, 2, nn::Bias::yes);
    temperature_ = at::full({}, kFirstTemperature);
    if (w.options().trainable || w.has("temp"))
      temperature_ = w.take_or_make("temp", {}, [&] { return temperature_; });
    if (w.has("cls.predictions.bias")) head_ = BertHead(bert, qformer_.words(), w / "cls.predictions");
  }

  Tensor prepare_texts(const std::vector<std::string>& texts) const override {
    return longest_batch(texts, tokenizer_, qformer_.config().bert.max_position_embeddings);
  }
  Tensor prepare_images(const std::vector<Image>& images) const override {
    return image_batch(images, processor_);
  }
  Tensor embed_images(const Tensor& pixels_I3HW) const override {
    return image_vectors(vision_.last_hidden_state(pixels_I3HW));
  }
  Tensor embed_texts(const Tensor& ids_BT) const override {
    return unit_rows(text_projection_(qformer_.read(ids_BT, words_mask(ids_BT)).select(1, 0)));
  }
  Tensor logits_per_image(const Tensor& image_IQC, const Tensor& text_BC) const override {
    return at::matmul(image_IQC, text_BC.t()).amax(1);
  }
  Tensor probabilities(const Tensor& logits_per_image) const override {
    return at::softmax(logits_per_image / temperature_, 1);
  }
  Tensor contrastive_loss(const Tensor& logits_BB) const override {
    Tensor scaled_BB = logits_BB / temperature_, partner_B = at::arange(logits_BB.size(0), at::kLong);
    auto loss = [&](const Tensor& logits) {
      return at::cross_entropy_loss(logits, partner_B, {}, at::Reduction::Mean, kIgnore, kSmoothing);
    };
    return (loss(scaled_BB) + loss(scaled_BB.t())) / 2;
  }
  Tensor itm_logits(const Tensor& pixels_I3HW, const Tensor& ids_BT) const override {
    Tensor states_ISV = vision_.last_hidden_state(pixels_I3HW);
    check_pairs(states_ISV.size(0), ids_BT.size(0));
    return match(states_ISV.expand({ids_BT.size(0), -1, -1}), ids_BT);
  }

  PairLosses pair_losses(const Tensor& pixels_B3HW, const Tensor& ids_BT) const override {
    Tensor states_BSV = vision_.last_hidden_state(pixels_B3HW);
    Tensor logits_BB = logits_per_image(image_vectors(states_BSV), embed_texts(ids_BT));
    PairLosses losses;
    losses.parts["itc"] = contrastive_loss(logits_BB);
    losses.parts["itm"] =
        matching_loss(logits_BB / temperature_, states_BSV, ids_BT,
                      [&](const Tensor& states, const Tensor& texts) { return match(states, texts); });
    losses.loss = losses.parts["itc"] + losses.parts["itm"];
    if (head_.defined()) {
      losses.parts["lm"] = caption_loss(states_BSV, ids_BT);
      losses.loss = losses.loss + losses.parts["lm"];
    }
    return losses;
  }

 private:
  Tensor words_mask(const Tensor& ids_BT) const { return ids_BT != tokenizer_.info.pad_id.value_or(0); }
  Tensor image_vectors(const Tensor& states_ISV) const {
    return unit_rows(vision_projection_(qformer_(states_ISV)));
  }
  Tensor match(const Tensor& states_BSV, const Tensor& ids_BT) const {
    return itm_head_(qformer_(states_BSV, ids_BT, words_mask(ids_BT))).mean(1);
  }
  Tensor caption_loss(const Tensor& states_BSV, const Tensor& ids_BT) const {
    auto start = tokenizer_.tokenizer->token_to_id(kStart);
    if (!start)
      fail(ErrorKind::bad_checkpoint, "get the tokenizer files of this checkpoint",
           "the tokenizer has no token {}", kStart);
    Tensor marked_BT = ids_BT.clone();
    marked_BT.select(1, 0).fill_(*start);
    Tensor next = marked_BT.slice(1, 1).flatten(), counted = words_mask(ids_BT).slice(1, 1).flatten();
    Tensor states_BTH = qformer_.write(states_BSV, marked_BT).slice(1, 0, -1);
    Tensor rows = states_BTH.flatten(0, 1).index({counted});
    return at::cross_entropy_loss(head_(rows), next.index({counted}), {}, at::Reduction::Mean, kIgnore,
                                  kSmoothing);
  }

  VitConfig vision_config_;
  Vit vision_;
  QFormer qformer_;
  nn::Linear vision_projection_, text_projection_, itm_head_;
  Tensor temperature_;  // []
  BertHead head_;
  LoadedTokenizer tokenizer_;
  std::optional<ImageProcessor> processor_;
};

}  // namespace

std::unique_ptr<Model> make_blip_2_matcher(const Checkpoint& checkpoint, const Weights& w) {
  return std::make_unique<Blip2Matcher>(checkpoint, w);
}

}  // namespace vlm::blip
