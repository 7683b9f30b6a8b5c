#include "models/common/spliced_t5.h"

#include "models/common/cross_memory.h"
#include "models/common/prompt_and_target.h"
#include "parts/fusion/splice.h"
#include "system/chat.h"
#include "system/training.h"

namespace vlm {

void put_media_first(Prompt& prompt, int64_t placeholder) {
  int64_t rows = 0;
  for (MediaInput& media : prompt.media) {
    media.begin = rows;
    rows += media.rows;
  }
  prompt.ids.insert(prompt.ids.begin(), static_cast<size_t>(rows), placeholder);
  if (!prompt.labels.empty()) prompt.labels.insert(prompt.labels.begin(), static_cast<size_t>(rows), kIgnore);
}

SplicedT5::SplicedT5(const T5Config& text, const Weights& text_weights, const Checkpoint& checkpoint,
                     int64_t placeholder, const char* default_template)
    : text_(text, text_weights),
      placeholder_(placeholder),
      tokenizer_(checkpoint.tokenizer),
      chat_template_(checkpoint.chat_template ? checkpoint.chat_template
                                              : ChatTemplate::compile(default_template)),
      eos_ids_(checkpoint.eos_ids()) {}

void SplicedT5::expand_ids(Prompt& prompt) const {
  put_media_first(prompt, placeholder_);
}

Prompt SplicedT5::prepare(const Request& request) const {
  Prompt prompt;
  prompt.text = render_prompt(request, *chat_template_, tokenizer_.info);
  for (const Image& image : request.images) {
    prompt.media.push_back(prepare_image(image, request));
    set_key(prompt.media.back());
  }
  prompt.ids = tokenizer_.tokenizer->ids(prompt.text);
  expand_ids(prompt);
  return prompt;
}

std::pair<Tensor, nn::Packed> SplicedT5::read(const std::vector<const Prompt*>& prompts,
                                              const Tensor& features_ND) const {
  std::vector<int64_t> flat;
  nn::Packed packed;
  for (const Prompt* prompt : prompts) {
    flat.insert(flat.end(), prompt->ids.begin(), prompt->ids.end());
    packed.spans.push_back({static_cast<int64_t>(prompt->ids.size())});
  }
  Tensor ids = ids_tensor(flat);
  Tensor x_SD = text_.embed(ids.clamp_min(0));
  if (features_ND.defined()) x_SD = splice(x_SD, ids, placeholder_, features_ND);
  return {text_.encode(x_SD, packed), packed};
}

Tensor SplicedT5::prefill(const Prompt& prompt, const std::vector<Tensor>& features, Sequence& sequence,
                          bool) const {
  Tensor states_SD = read({&prompt}, features.empty() ? Tensor() : at::cat(features)).first;
  trace::point("last_hidden_state", states_SD.unsqueeze(0));
  sequence = {};
  keep_memory(sequence, text_.remember(states_SD));
  return extend({{{text_.config().start_id}, &sequence}});
}

Tensor SplicedT5::extend(const std::vector<Continuation>& batch) const {
  auto [ids, packed] = pack(batch);
  return text_.logits(text_.decode(text_.embed(ids), packed, memories_of(batch)));
}

Prompt SplicedT5::prepare_example(const Request& request) const {
  Request asked = prompt_and_target(request);
  Prompt prompt = prepare(asked);
  prompt.labels = tokenizer_.tokenizer->ids(*asked.target);
  return prompt;
}

LanguageTrainable::Losses SplicedT5::loss(const std::vector<Prompt>& examples, bool all_logits) const {
  std::vector<const Prompt*> prompts;
  std::vector<Tensor> rows;
  ExampleBatch answers;
  std::vector<int64_t> ids, label_rows, label_ids;
  for (const Prompt& example : examples) {
    prompts.push_back(&example);
    for (const MediaInput& media : example.media) rows.push_back(encode(media));
    int64_t previous = text_.config().start_id;
    for (int64_t label : example.labels) {
      if (label != kIgnore) {
        label_rows.push_back(static_cast<int64_t>(ids.size()));
        label_ids.push_back(label);
      }
      ids.push_back(previous);
      previous = std::max<int64_t>(label, 0);
    }
    answers.packed.spans.push_back({static_cast<int64_t>(example.labels.size())});
  }
  answers.label_rows = ids_tensor(label_rows);
  answers.label_ids = ids_tensor(label_ids);
  auto [states_SD, packed] = read(prompts, rows.empty() ? Tensor() : at::cat(rows));
  std::vector<CrossMemory> memories;
  int64_t begin = 0;
  for (const nn::Packed::Span& span : packed.spans) {
    memories.push_back(text_.remember(states_SD.narrow(0, begin, span.count)));
    begin += span.count;
  }
  Tensor hidden_TD = text_.decode(text_.embed(ids_tensor(ids)), answers.packed, memories);
  return next_token_loss(hidden_TD, answers, all_logits,
                         [&](const Tensor& states) { return text_.logits(states); });
}

}  // namespace vlm
