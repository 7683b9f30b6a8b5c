#include "models/common/spliced.h"

#include <algorithm>

#include "parts/fusion/splice.h"
#include "system/chat.h"
#include "system/training.h"

namespace vlm {

namespace {

constexpr size_t kPicturesAtOnce = 8;  // bounds what a tower needs

// Pictures [n, 3, H, W] that a system encodes alike, however many: without extras, and not as tiles with an
// axis of their own.
bool is_plain(const MediaInput& input) {
  return input.extra.empty() && input.kind == MediaInput::Kind::image && input.pixel_values.dim() == 4;
}

// In Sequence::extra: by how much rotary positions of generated tokens differ from their places.
constexpr char kRopeDelta[] = "rope_delta";

// Where pictures (or videos) stand among all media, for systems with one mark for both. In a raw prompt the
// pictures come first.
std::vector<size_t> places_in(const Request& request, ContentPart::Kind kind) {
  std::vector<size_t> places;
  size_t place = 0;
  for (const ChatMessage& message : request.messages)
    for (const ContentPart& part : message.content) {
      if (part.kind == ContentPart::Kind::text) continue;
      if (part.kind == kind) places.push_back(place);
      ++place;
    }
  if (!request.messages.empty()) return places;
  bool is_video = kind == ContentPart::Kind::video;
  for (size_t idx = 0; idx < (is_video ? request.videos.size() : request.images.size()); ++idx)
    places.push_back(idx + (is_video ? request.images.size() : 0));
  return places;
}

}  // namespace

SplicedGenerator::SplicedGenerator(const DecoderConfig& text, const Weights& text_weights,
                                   const Checkpoint& checkpoint, SplicedArgs args,
                                   const char* default_template)
    : args_(std::move(args)),
      text_(text, text_weights),
      tokenizer_(checkpoint.tokenizer),
      chat_template_(checkpoint.chat_template ? checkpoint.chat_template
                                              : ChatTemplate::compile(default_template)),
      eos_ids_(checkpoint.eos_ids()) {}

MediaInput SplicedGenerator::prepare_video(const Video&, const Request&) const {
  fail(ErrorKind::unsupported, "give pictures of its frames", "this system does not take videos");
}

std::string SplicedGenerator::expand_text(std::string text, const std::vector<MediaInput>&) const {
  return text;
}

std::vector<int64_t> SplicedGenerator::tokenise(const std::string& text) const {
  return tokenizer_.tokenizer->ids(text);
}

LabelledChat SplicedGenerator::label(
    const Request& request, const std::function<std::vector<int64_t>(const std::string&)>& tokens_of) const {
  return label_chat(request, *chat_template_, tokenizer_.info, tokens_of);
}

void SplicedGenerator::expand_ids(Prompt& prompt) const {
  expand_placeholder(prompt, args_.placeholders);
}

// Media in the order of their marks in the text; within messages that is the order of the request's lists.
void SplicedGenerator::add_media(Prompt& prompt, const Request& request) const {
  if (args_.video_mark.empty() && !request.videos.empty())
    SplicedGenerator::prepare_video(request.videos.front(), request);
  bool shares_mark = !args_.video_mark.empty() && args_.video_mark == args_.image_mark;
  if (!args_.image_mark.empty())
    check_image_count(prompt.text, args_.image_mark,
                      request.images.size() + (shares_mark ? request.videos.size() : 0));
  if (!args_.video_mark.empty() && !shares_mark)
    check_image_count(prompt.text, args_.video_mark, request.videos.size());
  std::vector<std::pair<size_t, MediaInput>> media;
  auto add = [&](ContentPart::Kind kind, const std::string& mark, auto&& list, auto&& prepare) {
    std::vector<size_t> places;
    if (shares_mark) places = places_in(request, kind);
    if (shares_mark && places.size() != list.size())
      fail(ErrorKind::bad_request, "put pictures and videos into the messages, not their marks into the text",
           "the messages have {} places for {} pictures or videos", places.size(), list.size());
    size_t at = 0, number = 0;
    for (const auto& each : list) {
      if (shares_mark)
        at = places.at(number++);
      else if (!mark.empty())
        at = prompt.text.find(mark, at);
      media.emplace_back(at, prepare(each));
      at += mark.size();
    }
  };
  add(ContentPart::Kind::image, args_.image_mark, request.images,
      [&](const Image& image) { return prepare_image(image, request); });
  add(ContentPart::Kind::video, args_.video_mark, request.videos, [&](const Video& video) {
    MediaInput input = prepare_video(video, request);
    input.kind = MediaInput::Kind::video;
    return input;
  });
  std::stable_sort(media.begin(), media.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& [place, input] : media) prompt.media.push_back(std::move(input));
  arrange_media(prompt.media);
  for (MediaInput& input : prompt.media) set_key(input);
}

Prompt SplicedGenerator::prepare(const Request& request) const {
  Prompt prompt;
  prompt.text = render_prompt(request, *chat_template_, tokenizer_.info);
  add_media(prompt, request);
  prompt.ids = tokenise(expand_text(prompt.text, prompt.media));
  expand_ids(prompt);
  return prompt;
}

Prompt SplicedGenerator::prepare_example(const Request& request) const {
  Prompt prompt;
  auto tokens_of = [&](const std::string& text) { return tokenise(expand_text(text, prompt.media)); };
  if (request.target) {
    prompt.text = render_prompt(request, *chat_template_, tokenizer_.info);
    add_media(prompt, request);
    if (auto target = target_ids(*request.target, prompt.media)) {
      prompt.text += *request.target;
      prompt.ids = tokens_of(render_prompt(request, *chat_template_, tokenizer_.info));
      prompt.labels.assign(prompt.ids.size(), kIgnore);
      prompt.ids.insert(prompt.ids.end(), target->begin(), target->end());
      prompt.labels.insert(prompt.labels.end(), target->begin(), target->end());
      expand_ids(prompt);
      return prompt;
    }
    Prompt labelled = label_target(request, *chat_template_, tokenizer_.info, tokens_of);
    prompt.text = std::move(labelled.text), prompt.ids = std::move(labelled.ids),
    prompt.labels = std::move(labelled.labels);
  } else {
    prompt.text = render_prompt(request, *chat_template_, tokenizer_.info, false);
    add_media(prompt, request);
    LabelledChat chat = label(request, tokens_of);
    prompt.text = std::move(chat.text);
    prompt.ids = std::move(chat.ids), prompt.labels = std::move(chat.labels);
  }
  expand_ids(prompt);
  return prompt;
}

// Pictures of one shape without extras run together.
std::vector<Tensor> SplicedGenerator::encode_batch(const std::vector<const MediaInput*>& media) const {
  std::vector<Tensor> features(media.size());
  for (size_t first = 0; first < media.size(); ++first) {
    if (features[first].defined()) continue;
    std::vector<size_t> group{first};
    for (size_t next = first + 1; next < media.size() && is_plain(*media[first]); ++next)
      if (!features[next].defined() && is_plain(*media[next]) && group.size() < kPicturesAtOnce &&
          media[next]->pixel_values.sizes() == media[first]->pixel_values.sizes())
        group.push_back(next);
    if (group.size() == 1) {
      features[first] = encode(*media[first]);
      continue;
    }
    std::vector<Tensor> pixels;
    for (size_t idx : group) pixels.push_back(media[idx]->pixel_values);
    MediaInput together;
    together.pixel_values = at::cat(pixels);
    std::vector<Tensor> rows = encode(together).chunk(static_cast<int64_t>(group.size()));
    for (size_t idx = 0; idx < group.size(); ++idx) features[group[idx]] = rows[idx].clone();
  }
  return features;
}

Tensor SplicedGenerator::encode_all(const std::vector<const MediaInput*>& media) const {
  auto fits = [&](const MediaInput* input) {
    return is_plain(*input) &&
           input->pixel_values.sizes().slice(1) == media.front()->pixel_values.sizes().slice(1);
  };
  if (std::all_of(media.begin(), media.end(), fits)) {
    std::vector<Tensor> pixels;
    for (const MediaInput* input : media) pixels.push_back(input->pixel_values);
    MediaInput together;
    together.pixel_values = at::cat(pixels);
    return encode(together);
  }
  std::vector<Tensor> rows;
  for (const MediaInput* input : media) rows.push_back(encode(*input));
  return at::cat(rows);
}

Prompt SplicedGenerator::with_placeholders(const Prompt& prompt) const {
  Prompt marked = prompt;
  marked.ids = spliced_ids(prompt);
  return marked;
}

Tensor SplicedGenerator::prefill(const Prompt& prompt, const std::vector<Tensor>& features,
                                 Sequence& sequence, bool all_rows) const {
  int64_t begin = sequence.cache.length();
  SplicedIds rest = ids_behind(with_placeholders(prompt), features, begin, args_.placeholders);
  Tensor x_TD = splice(text_.embed(rest.safe_ids), rest.ids, args_.placeholders.image, rest.features);
  nn::Packed packed = nn::Packed::single(x_TD.size(0), &sequence.cache);
  packed.spans.front().prefix = prefix(prompt);
  if (Tensor positions_3T = rotary_positions(prompt); positions_3T.defined()) {
    packed.rotary_positions = positions_3T.slice(1, begin);
    sequence.extra[kRopeDelta] = positions_3T.max() + 1 - positions_3T.size(1);
  }
  return text_.logits(text_.prefill(std::move(x_TD), packed, all_rows));
}

Tensor SplicedGenerator::extend(const std::vector<Continuation>& batch) const {
  auto [ids, packed] = pack(batch);
  std::vector<Tensor> deltas;
  for (const Continuation& piece : batch)
    if (auto found = piece.sequence->extra.find(kRopeDelta); found != piece.sequence->extra.end())
      deltas.push_back(found->second.expand({static_cast<int64_t>(piece.ids.size())}));
  if (!deltas.empty()) packed.rotary_positions = packed.positions() + at::cat(deltas);
  return text_.logits(text_.forward(text_.embed(ids), packed));
}

LanguageTrainable::Losses SplicedGenerator::loss(const std::vector<Prompt>& examples, bool all_logits) const {
  std::vector<Prompt> marked;
  for (const Prompt& example : examples) marked.push_back(with_placeholders(example));
  ExampleBatch batch = pack_examples(marked);
  for (size_t idx = 0; idx < examples.size(); ++idx) batch.packed.spans[idx].prefix = prefix(examples[idx]);
  Tensor features;
  if (!batch.media.empty()) features = encode_all(batch.media);
  std::vector<Tensor> positions;
  for (const Prompt& example : examples)
    if (Tensor own = rotary_positions(example); own.defined()) positions.push_back(own);
  if (!positions.empty()) batch.packed.rotary_positions = at::cat(positions, 1);
  Tensor x_TD = splice(text_.embed(batch.safe_ids), as_image_placeholders(batch.ids, args_.placeholders),
                       args_.placeholders.image, features);
  Tensor hidden_TD = text_.forward(x_TD, batch.packed);
  return next_token_loss(hidden_TD, batch, all_logits,
                         [&](const Tensor& rows) { return text_.logits(rows); });
}

}  // namespace vlm
