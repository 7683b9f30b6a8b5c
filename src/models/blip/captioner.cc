// BLIP as captioner, of the system [blip]: a BERT decoder that goes on behind the words it is given.
// Reference: transformers BlipForConditionalGeneration; salesforce/BLIP, models/blip.py, BLIP_Decoder.
//
//   pixels_13HW --ViT--> states_SV --keys and values of every layer--> memory
//   [DEC] words_T --BERT, causal, cross-attention to the memory--> dense, GELU, norm, words again -->
//   logits_TK
//
// Unusual: a decoder alone, but every layer looks at the picture; without words it begins with the authors'
// "a picture of ", which is no part of the answer.
#include "models/blip/family.h"
#include "models/common/cross_memory.h"
#include "system/training.h"

namespace vlm::blip {

namespace {

constexpr char kWords[] = "a picture of ";

class Captioner final : public Model, public Generator, public LanguageTrainable {
 public:
  Captioner(const Checkpoint& checkpoint, const Weights& w)
      : vision_config_(VitConfig::blip(checkpoint.config.find("vision_config"))),
        ids_(TextIds::from(checkpoint.config.find("text_config"))),
        text_config_(
            BertConfig::blip(checkpoint.config.find("text_config"), vision_config_.encoder.hidden_size)),
        vision_(vision_config_, w / "vision_model"),
        text_(text_config_, w / "text_decoder.bert"),
        head_(text_config_, text_.words(), w / "text_decoder.cls.predictions"),
        tokenizer_(checkpoint.tokenizer),
        processor_(processor_of(checkpoint)) {}

  Prompt prepare(const Request& request) const override {
    Prompt prompt;
    prompt.text = words_of(request);
    if (prompt.text.empty()) prompt.text = kWords;
    prompt.media.push_back(prepare_picture(request, processor_, vision_config_.num_tokens()));
    prompt.ids = sentence(prompt.text);
    prompt.ids.pop_back();  // [SEP]: the caption goes on
    return prompt;
  }
  Tensor encode(const MediaInput& media) const override {
    return vision_.last_hidden_state(media.pixel_values).flatten(0, 1);
  }

  Tensor prefill(const Prompt& prompt, const std::vector<Tensor>& features, Sequence& sequence,
                 bool all_rows) const override {
    int64_t begin = sequence.cache.length();
    if (begin == 0) keep_memory(sequence, text_.remember(at::cat(features)));
    Tensor x_TD = run({{prompt.ids.begin() + begin, prompt.ids.end()}, &sequence});
    return head_(all_rows ? x_TD : x_TD.slice(0, -1));
  }
  Tensor extend(const std::vector<Continuation>& batch) const override {
    auto [ids, packed] = pack(batch);
    return head_(text_.forward(text_.embed(ids, packed.positions()), packed, true, memories_of(batch)));
  }
  int64_t max_positions() const override { return text_config_.max_position_embeddings; }
  std::vector<int64_t> eos_ids() const override { return {ids_.end}; }
  bool needs_question() const override { return false; }

  Prompt prepare_example(const Request& request) const override {
    Request asked = example_of(request);
    Prompt prompt = prepare(asked);
    size_t num_words = prompt.ids.size();
    prompt.text += *asked.target;
    prompt.ids = sentence(prompt.text);
    prompt.labels = prompt.ids;
    for (size_t at = 0; at < std::min(num_words, prompt.labels.size()); ++at) prompt.labels[at] = kIgnore;
    return prompt;
  }
  Losses loss(const std::vector<Prompt>& examples, bool all_logits) const override {
    ExampleBatch batch = pack_examples(examples);
    std::vector<CrossMemory> memories;
    for (const MediaInput* media : batch.media) memories.push_back(text_.remember(encode(*media)));
    Tensor x_TD = text_.embed(batch.ids, batch.packed.positions());
    x_TD = text_.forward(x_TD, batch.packed, true, memories);
    return next_token_loss(x_TD, batch, all_logits, head_, ids_.label_smoothing);
  }
  PartNames part_names() const override { return {"vision_model*", "*.crossattention.*", "*"}; }

 private:
  std::vector<int64_t> sentence(const std::string& words) const {
    std::vector<int64_t> ids = tokenizer_.tokenizer->ids(words);
    if (ids.size() < 2)
      fail(ErrorKind::bad_checkpoint, "get the tokenizer files of this checkpoint",
           "the tokenizer puts no [CLS] and [SEP] around words");
    ids.front() = ids_.start;
    return ids;
  }
  Tensor run(const Continuation& piece) const {
    auto [ids, packed] = pack({piece});
    return text_.forward(text_.embed(ids, packed.positions()), packed, true, memories_of({piece}));
  }

  VitConfig vision_config_;
  TextIds ids_;
  BertConfig text_config_;
  Vit vision_;
  Bert text_;
  BertHead head_;
  LoadedTokenizer tokenizer_;
  std::optional<ImageProcessor> processor_;
};

}  // namespace

std::unique_ptr<Model> make_captioner(const Checkpoint& checkpoint, const Weights& w) {
  return std::make_unique<Captioner>(checkpoint, w);
}

}  // namespace vlm::blip
