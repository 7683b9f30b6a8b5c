// BLIP for questions, of the system [blip]: an encoder reads the question while it looks at the picture, a
// decoder answers from what the encoder made of the question.
// Reference: transformers BlipForQuestionAnswering; salesforce/BLIP, models/blip_vqa.py.
//
//   pixels_13HW --ViT--> states_SV
//   [CLS] question_W [SEP] --BERT, cross-attention to states_SV--> question_WD
//   [DEC] answer_T --BERT, causal, cross-attention to question_WD--> head --> logits_TK
//
// Unusual: the authors' code reads [ENC] in the place of [CLS]; the reference, and hence this file, does not.
#include "models/blip/family.h"
#include "models/common/cross_memory.h"
#include "system/training.h"

namespace vlm::blip {

namespace {

class Answerer final : public Model, public Generator, public LanguageTrainable {
 public:
  Answerer(const Checkpoint& checkpoint, const Weights& w)
      : vision_config_(VitConfig::blip(checkpoint.config.find("vision_config"))),
        ids_(TextIds::from(checkpoint.config.find("text_config"))),
        question_config_(
            BertConfig::blip(checkpoint.config.find("text_config"), vision_config_.encoder.hidden_size)),
        answer_config_(BertConfig::blip(checkpoint.config.find("text_config"), question_config_.hidden_size)),
        vision_(vision_config_, w / "vision_model"),
        question_(question_config_, w / "text_encoder"),
        answer_(answer_config_, w / "text_decoder.bert"),
        head_(answer_config_, answer_.words(), w / "text_decoder.cls.predictions"),
        tokenizer_(checkpoint.tokenizer),
        processor_(processor_of(checkpoint)) {}

  Prompt prepare(const Request& request) const override {
    Prompt prompt;
    prompt.text = words_of(request);
    if (prompt.text.empty())
      fail(ErrorKind::bad_request, "ask something about the picture", "the request has no question");
    prompt.media.push_back(prepare_picture(request, processor_, vision_config_.num_tokens()));
    prompt.ids = tokenizer_.tokenizer->ids(prompt.text);
    return prompt;
  }
  Tensor encode(const MediaInput& media) const override {
    return vision_.last_hidden_state(media.pixel_values).flatten(0, 1);
  }
  Tensor prefill(const Prompt& prompt, const std::vector<Tensor>& features, Sequence& sequence,
                 bool) const override {
    sequence = {};
    keep_memory(sequence, read(prompt, at::cat(features)));
    return extend({{{ids_.start}, &sequence}});
  }
  Tensor extend(const std::vector<Continuation>& batch) const override {
    auto [ids, packed] = pack(batch);
    return head_(answer_.forward(answer_.embed(ids, packed.positions()), packed, true, memories_of(batch)));
  }
  int64_t max_positions() const override { return answer_config_.max_position_embeddings; }
  std::vector<int64_t> eos_ids() const override { return {ids_.end}; }
  bool is_encoder_decoder() const override { return true; }

  // labels: [DEC] answer [SEP], which the decoder reads as well; its first is not counted.
  Prompt prepare_example(const Request& request) const override {
    Request asked = example_of(request);
    Prompt prompt = prepare(asked);
    prompt.labels = tokenizer_.tokenizer->ids(*asked.target);
    if (!prompt.labels.empty()) prompt.labels.front() = ids_.start;
    return prompt;
  }
  Losses loss(const std::vector<Prompt>& examples, bool all_logits) const override {
    std::vector<Prompt> answers;
    std::vector<CrossMemory> memories;
    for (const Prompt& example : examples) {
      memories.push_back(read(example, encode(example.media.at(0))));
      Prompt answer;
      answer.ids = answer.labels = example.labels;
      answers.push_back(std::move(answer));
    }
    ExampleBatch batch = pack_examples(answers);
    Tensor x_TD = answer_.embed(batch.ids, batch.packed.positions());
    x_TD = answer_.forward(x_TD, batch.packed, true, memories);
    return next_token_loss(x_TD, batch, all_logits, head_, ids_.label_smoothing);
  }
  PartNames part_names() const override { return {"vision_model*", "text_encoder.*.crossattention.*", "*"}; }

 private:
  CrossMemory read(const Prompt& prompt, const Tensor& states_SV) const {
    nn::Packed packed = nn::Packed::single(static_cast<int64_t>(prompt.ids.size()));
    Tensor x_WD = question_.embed(ids_tensor(prompt.ids), packed.positions());
    x_WD = question_.forward(x_WD, packed, /*is_causal=*/false, {question_.remember(states_SV)});
    return answer_.remember(trace::point("hidden/question_states", x_WD));
  }

  VitConfig vision_config_;
  TextIds ids_;
  BertConfig question_config_, answer_config_;
  Vit vision_;
  Bert question_, answer_;
  BertHead head_;
  LoadedTokenizer tokenizer_;
  std::optional<ImageProcessor> processor_;
};

}  // namespace

std::unique_ptr<Model> make_answerer(const Checkpoint& checkpoint, const Weights& w) {
  return std::make_unique<Answerer>(checkpoint, w);
}

}  // namespace vlm::blip
