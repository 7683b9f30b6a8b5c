// LLaVA-OneVision [llava-onevision]: one picture as tiles, several as one view each, a video as pooled frames
// -> SigLIP-SO400M/14-384 -> MLP -> Qwen2.
// Paper: arXiv:2408.03326.
// Reference: transformers LlavaOnevisionForConditionalGeneration; LLaVA-VL/LLaVA-NeXT@df17966
// LlavaQwenForCausalLM. Checkpoints: llava-hf/llava-onevision-qwen2-{0.5b,7b,72b}-{si,ov}-hf,
// lmms-lab/llava-onevision-qwen2-*.
//
//   one picture --best of 36 resolutions--> base view and tiles; several --padded to squares--> one view
//   each; a video --32 frames, squashed to squares-- views_N3HW --SigLIP without its last layer and norm-->
//   NPV --MLP--> NPD
//     picture: base | grid without padding, shrunk bilinearly to 9 tiles' worth, a newline behind each row
//     several: each P tokens and a newline          video: each frame to 14 x 14, one newline behind all
//   --splice at <image> and <video>--> Qwen2
//
// P = 27 x 27 = 729 tokens a view, V = 1152, D = 896, 3584 or 8192.
// Unusual: the last layer and the final norm of the tower never run; several pictures are padded with the
// mean colour, a single one with black; frames shrink from 27 to 14 by interpolation, not by averaging 2 x 2.
#include <cmath>
#include <filesystem>

#include "models/llava/layouts.h"
#include "models/llava/systems.h"
#include "models/llava/templates.h"
#include "models/llava/tiled.h"
#include "parts/processors/video_frames.h"

namespace vlm::llava {

namespace {

constexpr int64_t kFrames = 32;  // of the paper's evaluation; the checkpoints say nothing
constexpr int64_t kMaxFrames = 1024;

Config onevision_config(const Checkpoint& checkpoint) {
  Config config = config_of(checkpoint);
  if (is_authors(checkpoint)) {  // LLaVA-Video, in the same layout, sets them otherwise
    checkpoint.config.require("mm_newline_position", "one_token");
    checkpoint.config.require("mm_spatial_pool_mode", "bilinear");
    checkpoint.config.require("add_faster_video", false);
    return config;
  }
  config.placeholders.video = checkpoint.config.get<int64_t>(
      "video_token_index", checkpoint.config.get<int64_t>("video_token_id", 151647));
  return config;
}

int64_t num_frames_of(const Checkpoint& checkpoint) {
  std::filesystem::path file = checkpoint.folder / "video_preprocessor_config.json";
  if (checkpoint.folder.empty() || !std::filesystem::exists(file)) return kFrames;
  return Json::read_file(file).integer("num_frames", 1, kMaxFrames, kFrames);
}

class LlavaOnevision final : public TiledLlava {
 public:
  LlavaOnevision(const Checkpoint& checkpoint, const Weights& w, Dialect dialect)
      : TiledLlava(onevision_config(checkpoint), checkpoint, w, std::move(dialect)),
        num_frames_(num_frames_of(checkpoint)) {}

  Tensor encode(const MediaInput& media) const override {
    if (media.kind == MediaInput::Kind::image) return TiledLlava::encode(media);
    Tensor frames_NPD = project(media.pixel_values.squeeze(0));
    int64_t num_frames = frames_NPD.size(0), width = frames_NPD.size(2);
    Tensor grid_NDss = frames_NPD.transpose(1, 2).reshape({num_frames, width, side(), side()});
    Tensor pooled_NDhw =
        at::upsample_bilinear2d(grid_NDss, {pooled_side(), pooled_side()}, /*align_corners=*/false);
    return with_newline(pooled_NDhw.flatten(2).transpose(1, 2).reshape({-1, width}));
  }

 private:
  int64_t pooled_side() const { return (side() + 1) / 2; }

  MediaInput prepare_image(const Image& image, const Request& request) const override {
    if (request.images.size() == 1) return TiledLlava::prepare_image(image, request);
    ImageProcessor squares = processor();
    squares.pad_to_square = true;
    return single_view(squares(image));
  }

  MediaInput prepare_video(const Video& video, const Request&) const override {
    int64_t total = video.num_frames();
    std::vector<int64_t> numbers = spread_frames(total, video.is_sampled() ? total : num_frames_);
    std::vector<Tensor> frames;
    for (const Image& frame : video.read(numbers)) frames.push_back(processor()(frame));
    MediaInput media;
    media.pixel_values = at::stack(frames).unsqueeze(0);
    media.rows = static_cast<int64_t>(frames.size()) * pooled_side() * pooled_side() + 1;
    return media;
  }

  int64_t num_frames_;
};

// Of the authors' programs a picture and a video have the same mark.
Dialect dialect_of(const Checkpoint& checkpoint) {
  if (is_authors(checkpoint))
    return {.default_template = qwen_1_5(), .video_mark = "<image>", .label = label_qwen};
  return {.default_template = qwen_1_5(), .video_mark = "<video>"};
}

}  // namespace

System llava_onevision() {
  return {.slug = "llava-onevision",
          .accepts =
              [](const Checkpoint& c) {
                return c.has_architecture("LlavaOnevisionForConditionalGeneration") ||
                       (is_authors_tiled(c) && has_limited_tiles(c));
              },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<LlavaOnevision>(c, w, dialect_of(c));
          },
          .layouts = layouts({"image_newline"})};
}

}  // namespace vlm::llava
