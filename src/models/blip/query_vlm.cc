#include "models/blip/query_vlm.h"

namespace vlm::blip {

namespace {

constexpr char kWordIds[] = "qformer_input_ids";

int64_t num_queries_of(const Checkpoint& checkpoint) {
  return checkpoint.config.integer("num_query_tokens", 1, 1 << 12, 32);
}

}  // namespace

int64_t image_token_of(const Checkpoint& checkpoint) {
  constexpr int64_t kOutside = -200;  // no token's id: only a place to fill
  return checkpoint.config.get<int64_t>("image_token_index", kOutside);
}

Request checked(const Request& request) {
  if (request.images.size() > 1 || !request.videos.empty())
    fail(ErrorKind::bad_request, "give one picture", "this system looks at one picture, {} were given",
         request.images.size() + request.videos.size());
  Request asked = request;
  if (asked.messages.empty() && asked.prompt.empty()) asked.messages.push_back(ChatMessage::text("user", ""));
  return asked;
}

QueryReader::QueryReader(const Checkpoint& checkpoint, const QFormerNames& names, const Weights& w,
                         int64_t text_width)
    : vision_config_(VitConfig::blip(checkpoint.config.find("vision_config"))),
      qformer_config_(QFormerConfig::from(checkpoint.config.find("qformer_config"),
                                          num_queries_of(checkpoint), vision_config_.encoder.hidden_size)),
      reads_words_(names.words != nullptr),
      vision_(vision_config_, w / "vision_model"),
      qformer_(qformer_config_, names, w),
      projection_(w / "language_projection", qformer_config_.bert.hidden_size, text_width, nn::Bias::yes),
      processor_(processor_of(checkpoint)) {
  std::filesystem::path own = checkpoint.folder / "qformer_tokenizer";
  if (reads_words_ && !checkpoint.folder.empty() && std::filesystem::is_directory(own))
    words_ = load_tokenizer(own);
}

MediaInput QueryReader::prepare(const Image& image, const Request& request) const {
  MediaInput media = prepare_picture(image, processor_, qformer_config_.num_queries);
  if (!reads_words_) return media;
  if (!words_.tokenizer)
    fail(ErrorKind::bad_checkpoint, "get the folder qformer_tokenizer of this checkpoint",
         "the Q-Former reads the instruction, and its tokenizer is missing");
  media.extra[kWordIds] = ids_tensor(words_.tokenizer->ids(words_of(request)));
  return media;
}

Tensor QueryReader::encode(const MediaInput& media) const {
  Tensor states_NSV = vision_.last_hidden_state(media.pixel_values);
  auto words = media.extra.find(kWordIds);
  Tensor ids_1W = words == media.extra.end() ? Tensor() : words->second.unsqueeze(0);
  return projection_(qformer_(states_NSV, ids_1W)).flatten(0, 1);
}

void QueryDecoder::expand_ids(Prompt& prompt) const {
  if (!prompt.labels.empty()) {
    int64_t end = eos_ids().empty() ? 2 : eos_ids().front();
    prompt.ids.push_back(end);
    prompt.labels.push_back(end);
  }
  put_media_first(prompt, args().placeholders.image);
}

std::unique_ptr<Model> make_query_vlm(const QFormerNames& names, const Checkpoint& checkpoint,
                                      const Weights& w, const char* chat_template) {
  if (checkpoint.config.find("text_config").get("model_type", "opt") == "t5")
    return std::make_unique<QueryT5>(names, checkpoint, w, chat_template);
  return std::make_unique<QueryDecoder>(names, checkpoint, w, chat_template);
}

}  // namespace vlm::blip
