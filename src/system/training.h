// Shared steps of generators and trainable systems that splice pictures into a token sequence.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "system/chat.h"
#include "system/system.h"

namespace vlm {

ContentHash hash_tensor(const Tensor& tensor, const ContentHash& seed = {});

// Sets the medium's key from its tensors.
void set_key(MediaInput& media);

// The ids that features take the places of; -1: the system has no id of its own for videos.
struct Placeholders {
  int64_t image = -1;
  int64_t video = -1;
  Placeholders(int64_t image_id, int64_t video_id = -1)
      : image(image_id), video(video_id) {}  // NOLINT: an id is one
  bool holds(int64_t id) const { return id == image || (video >= 0 && id == video); }
};

// Replaces the i-th placeholder by as many copies of it as the i-th medium has rows; labels grow alike,
// uncounted.
void expand_placeholder(Prompt& prompt, const Placeholders& placeholders);
// For prompts whose text was expanded before: notes where each medium begins. Throws bad_request when the
// placeholders are not as many as the media have rows.
void find_placeholders(Prompt& prompt, const Placeholders& placeholders);

// The part of a prompt behind the first `begin` ids, with the feature rows that belong to it.
struct SplicedIds {
  Tensor ids;       // [T - begin]; a video's placeholders as those of pictures
  Tensor safe_ids;  // the same with 0 for placeholders outside the vocabulary (negative ids)
  Tensor features;  // rows for the placeholders in `ids`; undefined when there are none
};
SplicedIds ids_behind(const Prompt& prompt, const std::vector<Tensor>& features, int64_t begin,
                      const Placeholders& placeholders);
// The same ids with a video's placeholders as those of pictures.
Tensor as_image_placeholders(const Tensor& ids, const Placeholders& placeholders);

// The new tokens of several sequences, one behind the other.
std::pair<Tensor, nn::Packed> pack(const std::vector<Generator::Continuation>& batch);

// Prompt and target as one text, tokenised as one string; the target's tokens are the labels.
Prompt label_target(const Request& request, const ChatTemplate& chat_template, const TokenizerInfo& info,
                    const std::function<std::vector<int64_t>(const std::string&)>& tokenise);

// Several examples as one packed run.
struct ExampleBatch {
  Tensor ids;                            // [T]
  Tensor safe_ids;                       // [T]
  std::vector<const MediaInput*> media;  // of all examples, in order
  Tensor label_rows;                     // int64 [n]: rows whose next token counts
  Tensor label_ids;                      // int64 [n]: those next tokens
  nn::Packed packed;
};
ExampleBatch pack_examples(const std::vector<Prompt>& examples);

// Mean cross entropy over the counted next tokens. `head` makes logits of hidden rows; only counted rows
// unless all_logits.
LanguageTrainable::Losses next_token_loss(const Tensor& hidden_TD, const ExampleBatch& batch, bool all_logits,
                                          const std::function<Tensor(const Tensor&)>& head,
                                          double label_smoothing = 0);

}  // namespace vlm
