// BERT [bert]: the bidirectional encoder that text towers and Q-Formers started from.
// Paper: arXiv:1810.04805.  Reference: transformers BertModel.
// Checkpoints: google-bert/bert-base-uncased and its siblings.
//
//   ids_BT --words + positions + types--> norm --[self-attention, norm, feed-forward, norm] x L--> states_BTD
//   state of [CLS] --dense, tanh--> pooled_BD
//
// Unusual: published files call weight and bias of norms gamma and beta; their heads ("cls") for masked words
// and next sentences are not used.
#include "parts/encoders/bert.h"
#include "models/language/systems.h"
#include "parts/heads/contrastive.h"
#include "parts/processors/text_batch.h"

namespace vlm::language {

namespace {

class BertEncoder final : public Model, public TextEmbedder {
 public:
  BertEncoder(const Checkpoint& checkpoint, const Weights& w)
      : bert_(BertConfig::bert(checkpoint.config), w / "bert"),
        pooler_(w / "bert.pooler.dense", bert_.config().hidden_size, bert_.config().hidden_size,
                nn::Bias::yes),
        tokenizer_(checkpoint.tokenizer) {
    w.ignore("cls.*");
  }

  Tensor prepare_texts(const std::vector<std::string>& texts) const override {
    return longest_batch(texts, tokenizer_, bert_.config().max_position_embeddings);
  }
  Tensor embed_texts(const Tensor& ids_BT) const override {
    PackedTexts texts(ids_BT, tokenizer_.info.pad_id.value_or(0));
    trace::point("token_type_ids", at::zeros_like(ids_BT));
    Tensor x_TD = bert_.embed(texts.ids_T, texts.packed.positions());
    x_TD = bert_.forward(x_TD, texts.packed, /*is_causal=*/false);
    trace::point("last_hidden_state", texts.rows(x_TD));
    return unit_rows(trace::point("pooler_output", at::tanh(pooler_(texts.first(x_TD)))));
  }

 private:
  Bert bert_;
  nn::Linear pooler_;
  LoadedTokenizer tokenizer_;
};

}  // namespace

System bert() {
  return {.slug = "bert",
          .accepts =
              [](const Checkpoint& c) {
                return c.has_architecture("BertForMaskedLM") || c.has_architecture("BertModel") ||
                       c.has_architecture("BertForPreTraining");
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<BertEncoder>(c, w);
          }};
}

}  // namespace vlm::language
