// Language models alone [causal-lm]: the decoders that systems are made of, loaded from their own
// checkpoints. Reference: transformers LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, ...
// (parts/decoders/families.cc).
//
//   ids_T --CausalDecoder--> logits_TK
#include <array>

#include "models/language/systems.h"
#include "parts/decoders/causal.h"
#include "system/chat.h"
#include "system/training.h"

namespace vlm::language {

namespace {

constexpr char kPlainTemplate[] = "{% for message in messages %}{{ message.content[0].text }}{% endfor %}";

class CausalLm final : public Model, public Generator, public LanguageTrainable {
 public:
  CausalLm(const Checkpoint& checkpoint, const Weights& w)
      : text_(DecoderConfig::from(checkpoint.config), w),
        tokenizer_(checkpoint.tokenizer),
        chat_template_(checkpoint.chat_template ? checkpoint.chat_template
                                                : ChatTemplate::compile(kPlainTemplate)),
        eos_ids_(checkpoint.eos_ids()) {
    w.ignore("*.attention.bias");  // causal masks stored as buffers
    w.ignore("*.attention.masked_bias");
  }

  Prompt prepare(const Request& request) const override {
    if (!request.images.empty())
      fail(ErrorKind::bad_request, "ask a vision-language model",
           "this is a language model without a vision tower, and {} picture{} given", request.images.size(),
           request.images.size() == 1 ? " was" : "s were");
    Prompt prompt;
    prompt.text = render_prompt(request, *chat_template_, tokenizer_.info);
    prompt.ids = tokenizer_.tokenizer->ids(prompt.text);
    return prompt;
  }
  Tensor encode(const MediaInput&) const override { return Tensor(); }
  Tensor prefill(const Prompt& prompt, const std::vector<Tensor>&, Sequence& sequence,
                 bool all_rows) const override {
    SplicedIds rest = ids_behind(prompt, {}, sequence.cache.length(), -1);
    nn::Packed packed = nn::Packed::single(rest.ids.size(0), &sequence.cache);
    return text_.logits(text_.prefill(text_.embed(rest.ids), packed, all_rows));
  }
  Tensor extend(const std::vector<Continuation>& batch) const override {
    auto [ids, packed] = pack(batch);
    return text_.logits(text_.forward(text_.embed(ids), packed));
  }
  int64_t max_positions() const override { return text_.config().max_position_embeddings; }
  std::vector<int64_t> eos_ids() const override { return eos_ids_; }

  Prompt prepare_example(const Request& request) const override {
    auto tokens_of = [&](const std::string& text) { return tokenizer_.tokenizer->ids(text); };
    if (request.target) return label_target(request, *chat_template_, tokenizer_.info, tokens_of);
    LabelledChat chat = label_chat(request, *chat_template_, tokenizer_.info, tokens_of);
    Prompt prompt;
    prompt.text = std::move(chat.text), prompt.ids = std::move(chat.ids),
    prompt.labels = std::move(chat.labels);
    return prompt;
  }
  Losses loss(const std::vector<Prompt>& examples, bool all_logits) const override {
    ExampleBatch batch = pack_examples(examples);
    Tensor hidden_TD = text_.forward(text_.embed(batch.ids), batch.packed);
    return next_token_loss(hidden_TD, batch, all_logits,
                           [&](const Tensor& rows) { return text_.logits(rows); });
  }
  PartNames part_names() const override { return {"", "", "*"}; }

 private:
  CausalDecoder text_;
  LoadedTokenizer tokenizer_;
  std::shared_ptr<const ChatTemplate> chat_template_;
  std::vector<int64_t> eos_ids_;
};

}  // namespace

System causal_lm() {
  return {.slug = "causal-lm",
          .accepts =
              [](const Checkpoint& c) {
                constexpr std::array kArchitectures{
                    "LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM",  "Qwen2ForCausalLM",
                    "GemmaForCausalLM", "PhiForCausalLM",     "StableLmForCausalLM", "GPTNeoXForCausalLM",
                    "MptForCausalLM",   "OPTForCausalLM"};
                return std::any_of(kArchitectures.begin(), kArchitectures.end(),
                                   [&](const char* name) { return c.has_architecture(name); });
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<CausalLm>(c, w);
          }};
}

}  // namespace vlm::language
