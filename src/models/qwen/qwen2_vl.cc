// Qwen2-VL [qwen2-vl]: ViT at the picture's own size -> 2x2 merger -> Qwen2 with rotary positions in time,
// row and column. Paper: arXiv:2409.12191.  Reference: transformers Qwen2VLForConditionalGeneration;
// QwenLM/Qwen2-VL. Checkpoints: Qwen/Qwen2-VL-{2B,7B,72B}-Instruct, and their AWQ and GPTQ editions
// (weights/packed_source.h).
//
//   picture or frames --NativePatches--> rows_PK --Qwen2Vit--> merged_ND
//   ids_T --embed--> x_TD --splice at <|image_pad|>, <|video_pad|>--> x_TD --Qwen2, positions_3T--> logits_TK
//
// P = t * h * w patches of 14 x 14 pixels and two frames, N = P / 4 rows of width D = 1536, 3584 or 8192.
// Unusual: a picture is two equal frames; text behind a picture continues at the largest of its three
// positions plus one, so that generated tokens stand nearer than their count says; the tower sees one frame
// pair at a time.
#include <algorithm>
#include <cmath>

#include "models/common/spliced.h"
#include "models/qwen/notation.h"
#include "models/qwen/systems.h"
#include "parts/encoders/qwen2_vit.h"
#include "parts/processors/needed.h"
#include "system/answer_stream.h"

namespace vlm::qwen {

namespace {

constexpr char kTemplate[] =
    "{% for message in messages %}{% if loop.first and message.role != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{% if part.type == 'image' "
    "%}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ part.text }}"
    "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% endif %}";

// How the authors' processing samples a video file (qwen-vl-utils): frames a second, their least and greatest
// number, and the largest frame and whole video in pixels.
constexpr double kFramesPerSecond = 2;
constexpr int64_t kFewestFrames = 4, kMostFrames = 768;
constexpr int64_t kMostFramePixels = 768 * 28 * 28, kMostVideoPixels = 24576 * 28 * 28;

struct Config {
  DecoderConfig text;
  Qwen2VitConfig vision;
  int64_t image_token = 151655, video_token = 151656;

  explicit Config(const Json& json) : vision(Qwen2VitConfig::from(json.at("vision_config"))) {
    // Published files keep the language model's keys at the top, newer versions save them apart.
    bool is_tied = json.get("tie_word_embeddings", false);
    text = DecoderConfig::from(json.has("text_config") ? json.at("text_config") : json, is_tied);
    image_token = json.get("image_token_id", image_token);
    video_token = json.get("video_token_id", video_token);
    if (vision.out_width != text.hidden_size)
      fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
           "config.json: the tower gives rows of {}, the language model takes {}", vision.out_width,
           text.hidden_size);
    if (text.rope.sections.empty())
      fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
           "config.json: rope_scaling has no mrope_section");
    json.ignore({"vision_start_token_id", "vision_end_token_id", "vision_token_id", "attention_dropout"});
  }
};

class Qwen2Vl final : public SplicedGenerator, public AnswerReader, public AnswerStreamer {
 public:
  Qwen2Vl(Config config, const Checkpoint& checkpoint, const Weights& w)
      : SplicedGenerator(config.text, w, checkpoint,
                         {"<|image_pad|>", "<|video_pad|>", {config.image_token, config.video_token}},
                         kTemplate),
        config_(std::move(config)),
        vision_(config_.vision, w / "visual") {
    if (!checkpoint.preprocessor.is_null()) patches_ = NativePatches::from(checkpoint.preprocessor);
  }

  Tensor encode(const MediaInput& media) const override {
    PatchGrid grid = PatchGrid::from(grid_of(media));
    return trace::point("hidden/connector", vision_(media.pixel_values, grid));
  }
  ParsedAnswer read_answer(const std::string& text, const Request& request) const override {
    return read_regions(text, kQwen2Marks, request);
  }
  std::string settled_text(const std::string& text, const Request&) const override {
    return qwen::settled_text(text, kQwen2Marks);
  }
  PartNames part_names() const override { return {"*visual.*", "*visual.merger.*", "*"}; }

 private:
  static const Tensor& grid_of(const MediaInput& media) {
    return media.extra.at(media.kind == MediaInput::Kind::video ? "video_grid_thw" : "image_grid_thw");
  }
  MediaInput medium_of(PatchRows patches, const char* grid_name) const {
    MediaInput media;
    media.rows = patches.grid.count() / (config_.vision.merge_size * config_.vision.merge_size);
    media.pixel_values = std::move(patches.rows_PK);
    media.extra[grid_name] = patches.grid.tensor();
    return media;
  }
  MediaInput prepare_image(const Image& image, const Request&) const override {
    return medium_of(needed(patches_).image(image), "image_grid_thw");
  }
  MediaInput prepare_video(const Video& video, const Request&) const override;
  Tensor rotary_positions(const Prompt& prompt) const override;

  Config config_;
  Qwen2Vit vision_;
  std::optional<NativePatches> patches_;
};

// Evenly spaced frames, an even number of them (transformers Qwen2VLVideoProcessor.sample_frames).
std::vector<int64_t> sampled_frames(const Video& video) {
  int64_t total = video.num_frames(), pair = 2;
  double wanted = static_cast<double>(total) / std::max(video.frames_per_second(), 1e-3) * kFramesPerSecond;
  double most = static_cast<double>(std::min(kMostFrames, total) / pair * pair);
  int64_t count = static_cast<int64_t>(std::min(std::max(wanted, static_cast<double>(kFewestFrames)), most)) /
                  pair * pair;
  count = std::max<int64_t>(count, 1);  // a video of one frame
  std::vector<int64_t> frames;
  for (int64_t idx = 0; idx < count; ++idx)
    frames.push_back(static_cast<int64_t>(static_cast<double>(idx) * static_cast<double>(total) /
                                          static_cast<double>(count)));
  return frames;
}

MediaInput Qwen2Vl::prepare_video(const Video& video, const Request&) const {
  const NativePatches& patches = needed(patches_);
  if (video.is_sampled()) {
    std::vector<int64_t> all;
    for (int64_t idx = 0; idx < video.num_frames(); ++idx) all.push_back(idx);
    return medium_of(patches.video(video.read(all), patches.max_pixels), "video_grid_thw");
  }
  std::vector<int64_t> frames = sampled_frames(video);
  int64_t share = kMostVideoPixels / static_cast<int64_t>(frames.size()) * patches.temporal_patch_size;
  int64_t most = std::max(std::min({kMostFramePixels, share, patches.max_pixels}), patches.min_pixels);
  return medium_of(patches.video(video.read(frames), most), "video_grid_thw");
}

Tensor Qwen2Vl::rotary_positions(const Prompt& prompt) const {
  int64_t count = static_cast<int64_t>(prompt.ids.size()), merge = config_.vision.merge_size, next = 0,
          at = 0;
  std::vector<int64_t> places(static_cast<size_t>(3 * count));
  auto put = [&](int64_t time, int64_t row, int64_t column) {
    for (int64_t axis = 0; axis < 3; ++axis)
      places[static_cast<size_t>(axis * count + at)] = axis == 0 ? time : axis == 1 ? row : column;
    ++at;
  };
  auto put_text_until = [&](int64_t end) {
    for (; at < end; ++next) put(next, next, next);
  };
  for (const MediaInput& media : prompt.media) {
    put_text_until(media.begin);
    PatchGrid grid = PatchGrid::from(grid_of(media));
    int64_t rows = grid.rows / merge, columns = grid.columns / merge;
    for (int64_t time = 0; time < grid.time; ++time)
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = 0; column < columns; ++column) put(next + time, next + row, next + column);
    next += std::max({grid.time, rows, columns});
  }
  put_text_until(count);
  return ids_tensor(places).view({3, count});
}

}  // namespace

System qwen2_vl() {
  return {
      .slug = "qwen2-vl",
      .accepts = [](const Checkpoint& c) { return c.has_architecture("Qwen2VLForConditionalGeneration"); },
      .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
        return std::make_unique<Qwen2Vl>(Config(c.config), c, w);
      },
      .layouts = {// transformers 4.52 and later
                  {{"model.", "model.language_model."}, {"visual.", "model.visual."}}}};
}

}  // namespace vlm::qwen
