// Composed models [compose]: any tower -> any connector -> any causal language model, by config alone.
// Reference: none; the graph is LLaVA's (arXiv:2304.08485) with other pieces.
// Checkpoints: what `vlm compose` writes (train/compose.h) and `vlm train` trains.
//
//   pixels_N3HW --tower--> rows_NPV --connector--> image_NQD
//   ids_T --embed--> x_TD --splice at <image>--> x_TD --CausalDecoder--> logits_TK
//
// Unusual: the tokenizer is the language model's own and knows no <image>: the text between pictures is
// tokenised piece by piece, and pictures stand under an id outside the vocabulary.
#include "models/common/spliced.h"
#include "models/compose/pieces.h"
#include "models/compose/systems.h"
#include "parts/processors/image_processor.h"
#include "parts/processors/longest_side.h"
#include "parts/processors/native_patches.h"

namespace vlm::compose {

namespace {

constexpr char kModelType[] = "vlm_compose";
constexpr char kImage[] = "<image>";
constexpr int64_t kImageToken = -200;
constexpr char kTemplate[] =
    "{% for message in messages %}{% for part in message.content if part.type == 'image' %}<image>\n{% "
    "endfor %}"
    "{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}\n{% endfor %}";

class Composed final : public SplicedGenerator {
 public:
  Composed(const DecoderConfig& text, const Checkpoint& checkpoint, const Weights& w)
      : SplicedGenerator(text, w / "language_model", checkpoint, {kImage, "", {kImageToken}}, kTemplate),
        tower_(make_tower(checkpoint.config, w / "vision_tower")),
        connector_(make_connector(checkpoint.config.at("connector_config"), tower_, text.hidden_size,
                                  w / "connector")) {
    const Json& preprocessor = checkpoint.preprocessor;
    if (preprocessor.is_null()) return;
    auto square = [](auto processor) {
      return [=](const Image& image) {
        MediaInput media;
        media.pixel_values = processor(image).unsqueeze(0);
        return media;
      };
    };
    if (LongestSide::reads(preprocessor)) {
      media_of_ = square(LongestSide::from(preprocessor));
    } else if (preprocessor.get("image_processor_type", "").starts_with("Qwen2VLImageProcessor")) {
      media_of_ = [patches = NativePatches::from(preprocessor)](const Image& image) {
        PatchRows cut = patches.image(image);
        MediaInput media;
        media.pixel_values = cut.rows_PK;
        media.extra["image_grid_thw"] = cut.grid.tensor();
        return media;
      };
    } else {
      media_of_ = square(ImageProcessor::from(preprocessor));
    }
  }

  Tensor encode(const MediaInput& media) const override {
    Tensor image_NQD = connector_.join(tower_.encode(media), tower_.grid(media));
    return trace::point("hidden/connector", image_NQD).flatten(0, 1);
  }
  PartNames part_names() const override { return {"vision_tower.*", "connector.*", "*"}; }

 private:
  MediaInput prepare_image(const Image& image, const Request&) const override {
    if (!media_of_)
      fail(ErrorKind::bad_checkpoint, "get preprocessor_config.json of the tower",
           "the checkpoint says nothing about its pictures");
    MediaInput media = media_of_(image);
    media.rows = connector_.tokens(tower_.grid(media));
    return media;
  }
  std::vector<int64_t> tokenise(const std::string& text) const override {
    const TokenizerInfo& info = tokenizer().info;
    std::vector<int64_t> ids;
    for (size_t begin = 0;;) {
      size_t end = text.find(kImage, begin);
      std::vector<int64_t> chunk = tokenizer().tokenizer->ids(text.substr(begin, end - begin));
      bool repeats_bos = begin > 0 && !chunk.empty() && info.bos_id && chunk.front() == *info.bos_id;
      ids.insert(ids.end(), chunk.begin() + (repeats_bos ? 1 : 0), chunk.end());
      if (end == std::string::npos) return ids;
      ids.push_back(kImageToken);
      begin = end + sizeof kImage - 1;
    }
  }

  Tower tower_;
  Connector connector_;
  std::function<MediaInput(const Image&)> media_of_;
};

}  // namespace

System compose() {
  return {.slug = "compose",
          .accepts = [](const Checkpoint& c) { return c.config.get("model_type", "") == kModelType; },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            bool is_tied = c.config.get("tie_word_embeddings", false);
            return std::make_unique<Composed>(DecoderConfig::from(c.config.at("text_config"), is_tied), c, w);
          }};
}

}  // namespace vlm::compose
