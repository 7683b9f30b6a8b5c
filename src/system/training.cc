#include "system/training.h"

#include <algorithm>

namespace vlm {

ContentHash hash_tensor(const Tensor& tensor, const ContentHash& seed) {
  Tensor flat = tensor.contiguous();
  return hash_bytes({static_cast<const std::byte*>(flat.data_ptr()), flat.nbytes()}, seed);
}

void set_key(MediaInput& media) {
  media.key = hash_tensor(media.pixel_values);
  for (const auto& [name, tensor] : media.extra) media.key = hash_tensor(tensor, media.key);
}

void expand_placeholder(Prompt& prompt, const Placeholders& placeholders) {
  std::vector<int64_t> ids, labels;
  size_t next = 0, num_media = prompt.media.size();
  for (size_t at = 0; at < prompt.ids.size(); ++at) {
    bool is_placeholder = placeholders.holds(prompt.ids[at]);
    if (is_placeholder && next >= num_media)
      fail(ErrorKind::bad_request, "put one placeholder for each picture into the prompt",
           "the prompt has more image placeholders than the {} pictures given", num_media);
    int64_t copies = 1;
    if (is_placeholder) {
      prompt.media[next].begin = static_cast<int64_t>(ids.size());
      copies = prompt.media[next++].rows;
    }
    ids.insert(ids.end(), static_cast<size_t>(copies), prompt.ids[at]);
    if (!prompt.labels.empty())
      labels.insert(labels.end(), static_cast<size_t>(copies), is_placeholder ? kIgnore : prompt.labels[at]);
  }
  if (next != num_media)
    fail(ErrorKind::bad_request, "the tokenizer's files may belong to another model",
         "the prompt has {} image placeholders for {} pictures", next, num_media);
  prompt.ids = std::move(ids);
  prompt.labels = std::move(labels);
}

void find_placeholders(Prompt& prompt, const Placeholders& placeholders) {
  int64_t rows = 0, wanted = 0;
  for (const MediaInput& media : prompt.media) wanted += media.rows;
  size_t next = 0;
  int64_t left = 0;  // rows of the medium before `next` still to come
  for (size_t at = 0; at < prompt.ids.size(); ++at) {
    if (!placeholders.holds(prompt.ids[at])) continue;
    if (!prompt.labels.empty()) prompt.labels[at] = kIgnore;
    ++rows;
    if (left == 0 && next < prompt.media.size()) {
      prompt.media[next].begin = static_cast<int64_t>(at);
      left = prompt.media[next++].rows;
    }
    --left;
  }
  if (rows != wanted)
    fail(ErrorKind::bad_request, "the tokenizer's files may belong to another model",
         "the prompt has {} image tokens, the pictures give {}", rows, wanted);
}

SplicedIds ids_behind(const Prompt& prompt, const std::vector<Tensor>& features, int64_t begin,
                      const Placeholders& placeholders) {
  VLM_CHECK(begin < static_cast<int64_t>(prompt.ids.size()), "nothing left of {} ids behind {}",
            prompt.ids.size(), begin);
  int64_t rows_before = std::count_if(prompt.ids.begin(), prompt.ids.begin() + begin,
                                      [&](int64_t id) { return placeholders.holds(id); });
  SplicedIds rest;
  rest.ids = as_image_placeholders(ids_tensor({prompt.ids.begin() + begin, prompt.ids.end()}), placeholders);
  rest.safe_ids = rest.ids.clamp_min(0);
  if (!features.empty()) {
    Tensor all = features.size() == 1 ? features[0] : at::cat(features);
    if (rows_before < all.size(0)) rest.features = all.slice(0, rows_before);
  }
  return rest;
}

Tensor as_image_placeholders(const Tensor& ids, const Placeholders& placeholders) {
  return placeholders.video < 0 ? ids : ids.masked_fill(ids == placeholders.video, placeholders.image);
}

std::pair<Tensor, nn::Packed> pack(const std::vector<Generator::Continuation>& batch) {
  std::vector<int64_t> ids;
  nn::Packed packed;
  for (const Generator::Continuation& piece : batch) {
    ids.insert(ids.end(), piece.ids.begin(), piece.ids.end());
    packed.spans.push_back({static_cast<int64_t>(piece.ids.size()), &piece.sequence->cache});
  }
  return {ids_tensor(ids), packed};
}

Prompt label_target(const Request& request, const ChatTemplate& chat_template, const TokenizerInfo& info,
                    const std::function<std::vector<int64_t>(const std::string&)>& tokenise) {
  Prompt prompt;
  std::string before = render_prompt(request, chat_template, info);
  prompt.text = before + request.target.value();
  prompt.ids = tokenise(prompt.text);
  std::vector<int64_t> prefix = tokenise(before);
  size_t common = 0;  // the joint text may merge the last piece of the prompt with the first of the target
  while (common < prefix.size() && common < prompt.ids.size() && prefix[common] == prompt.ids[common])
    ++common;
  prompt.labels.assign(prompt.ids.size(), kIgnore);
  std::copy(prompt.ids.begin() + static_cast<int64_t>(common), prompt.ids.end(),
            prompt.labels.begin() + static_cast<int64_t>(common));
  return prompt;
}

namespace {

// Positions as if every turn stood alone, and a bias that hides the other turns.
void keep_turns_apart(const std::vector<Prompt>& examples, nn::Packed& packed) {
  constexpr float kHidden = -1e9f;
  auto count = static_cast<int64_t>(examples.size()), length = static_cast<int64_t>(examples[0].ids.size());
  packed.bias = at::zeros({count, 1, length, length});
  std::vector<int64_t> positions;
  for (int64_t idx = 0; idx < count; ++idx) {
    const Prompt& example = examples[static_cast<size_t>(idx)];
    if (static_cast<int64_t>(example.ids.size()) != length)
      fail(ErrorKind::bad_request, "pad them", "turns are kept apart in examples of {} and {} ids", length,
           example.ids.size());
    int64_t shared = example.turns_apart.empty() ? length : example.turns_apart.front(), begin = shared;
    size_t next = 0;
    for (int64_t row = 0; row < length; ++row) {
      if (next < example.turns_apart.size() && row == example.turns_apart[next]) begin = row, ++next;
      positions.push_back(row < shared ? row : shared + row - begin);
      float* bias = packed.bias.data_ptr<float>() + (idx * length + row) * length;
      if (row >= shared) std::fill(bias + shared, bias + begin, kHidden);
    }
  }
  packed.rotary_positions = ids_tensor(positions);
}

}  // namespace

ExampleBatch pack_examples(const std::vector<Prompt>& examples) {
  ExampleBatch batch;
  std::vector<int64_t> ids, rows, labels;
  for (const Prompt& example : examples) {
    int64_t begin = static_cast<int64_t>(ids.size());
    ids.insert(ids.end(), example.ids.begin(), example.ids.end());
    batch.packed.spans.push_back({static_cast<int64_t>(example.ids.size())});
    for (size_t at = 1; at < example.labels.size(); ++at) {
      if (example.labels[at] == kIgnore) continue;
      rows.push_back(begin + static_cast<int64_t>(at) - 1);
      labels.push_back(example.labels[at]);
    }
    for (const MediaInput& media : example.media) batch.media.push_back(&media);
  }
  batch.ids = ids_tensor(ids);
  batch.safe_ids = batch.ids.clamp_min(0);
  batch.label_rows = ids_tensor(rows);
  batch.label_ids = ids_tensor(labels);
  bool is_apart = std::any_of(examples.begin(), examples.end(),
                              [](const Prompt& example) { return !example.turns_apart.empty(); });
  if (is_apart) keep_turns_apart(examples, batch.packed);
  return batch;
}

LanguageTrainable::Losses next_token_loss(const Tensor& hidden_TD, const ExampleBatch& batch, bool all_logits,
                                          const std::function<Tensor(const Tensor&)>& head,
                                          double label_smoothing) {
  LanguageTrainable::Losses losses;
  losses.counted_tokens = batch.label_rows.size(0);
  if (losses.counted_tokens == 0)
    fail(ErrorKind::bad_request, "give every example an answer", "no token of the batch counts for the loss");
  Tensor counted;
  if (all_logits) {
    losses.logits = head(hidden_TD);
    counted = losses.logits.index_select(0, batch.label_rows);
  } else {
    counted = losses.logits = head(hidden_TD.index_select(0, batch.label_rows));
  }
  losses.loss = at::cross_entropy_loss(counted.to(at::kFloat), batch.label_ids, {}, at::Reduction::Mean,
                                       kIgnore, label_smoothing);
  return losses;
}

}  // namespace vlm
