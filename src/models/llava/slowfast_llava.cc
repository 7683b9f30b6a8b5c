// SlowFast-LLaVA [slowfast-llava]: LLaVA-1.6, untouched, that watches videos: few frames finely, all frames
// coarsely.
// Paper: arXiv:2407.15841.  Reference: apple/ml-slowfast-llava@bea0f73 (prepare_slowfast, cfgs/*.yaml).
// Checkpoints: those of llava-1.6 (liuhaotian/llava-v1.6-vicuna-7b and -34b); nothing in them tells, so
// `--system slowfast-llava` chooses it.
//
//   video --50 frames, squashed--> pixels_F3HW --ClipVision, MLP--> frames_FPD
//     slow: 10 frames, pairs of neighbours in a row by their larger value -> [10 * P / 2, D]
//     fast: all frames averaged to 4 x 4                                  -> [F * 16, D]
//   slow, then fast --splice at <image>--> LLaMA with its rotary base stretched beyond its context
//
// F = 50 frames, P = 576: 2880 + 800 = 3680 tokens.
// Unusual: no tiles and no newlines; the pools work behind the projector; a sequence longer than the language
// model's context changes the rotary base for what is new, while keys stored before keep theirs.
#include <fmt/format.h>

#include "models/llava/family.h"
#include "models/llava/layouts.h"
#include "models/llava/systems.h"
#include "models/llava/templates.h"
#include "parts/processors/video_frames.h"

namespace vlm::llava {

namespace {

// cfgs/slowfast_llava_7b-resize-slow_10frms_spatial_1d_max_pool_fast_4x4-50_frms.yaml
constexpr int64_t kFrames = 50, kSlowFrames = 10, kFastSide = 4;
constexpr double kContextFactor = 2;

constexpr char kTask[] =
    "The input consists of a sequence of key frames from a video. Answer concisely with overall content and "
    "context of the video, highlighting any significant events, characters, or objects that appear "
    "throughout "
    "the video. ";

// The authors' image_seq_v3 and image_seq_34b_v3; turns behind the first are ours.
std::string question_template(bool is_chatml) {
  std::string text =
      "{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}{{ '' }}";
  std::string question = fmt::format(
      "{{% for part in message.content if part.type != 'text' %}}<image>\n{}{{% endfor %}}Question: {}",
      kTask, text);
  if (is_chatml)
    return "<|im_start|>system\n Answer the question. <|im_end|>\n"
           "{% for message in messages %}{% if message.role == 'user' %}<|im_start|>user\n " +
           question +
           " <|im_end|>\n<|im_start|>assistant\nAnswer: In the video,{% elif message.role == 'assistant' %} "
           "{{ message.content[0].text }}<|im_end|>\n{% endif %}{% endfor %}";
  return "{% for message in messages %}{% if message.role == 'user' %}USER: " + question +
         " \nASSISTANT:\nAnswer: In the video,{% elif message.role == 'assistant' %} "
         "{{ message.content[0].text }}</s>{% endif %}{% endfor %}";
}

Config stretched(Config config) {
  config.text.rope.dynamic_factor = kContextFactor;
  return config;
}

class SlowFastLlava final : public Llava {
 public:
  SlowFastLlava(const Checkpoint& checkpoint, const Weights& w, Dialect dialect)
      : Llava(stretched(config_of(checkpoint)), checkpoint, w, std::move(dialect)) {
    w.ignore("image_newline");
  }

  int64_t max_positions() const override {
    return static_cast<int64_t>(kContextFactor) * Llava::max_positions();
  }

  Prompt prepare(const Request& request) const override {
    if (!request.images.empty())
      fail(ErrorKind::unsupported, "leave --system out for questions about pictures",
           "slowfast-llava watches videos, it does not take pictures");
    return Llava::prepare(request);
  }

  Tensor encode(const MediaInput& media) const override {
    Tensor frames_FPD = project(media.pixel_values);
    int64_t num_frames = frames_FPD.size(0), width = frames_FPD.size(2), side = config().vision.grid();
    Tensor slow_IPD = frames_FPD.index_select(0, ids_tensor(slow_frames(num_frames)));
    // Pairs along the flattened rows: of an even side, so that no pair spans two rows.
    int64_t pairs = slow_IPD.size(1) / 2;
    Tensor slow_ND = slow_IPD.narrow(1, 0, 2 * pairs)
                         .reshape({slow_IPD.size(0), pairs, 2, width})
                         .amax(2)
                         .reshape({-1, width});
    Tensor grid_FDss = frames_FPD.transpose(1, 2).reshape({num_frames, width, side, side});
    Tensor fast_ND = at::adaptive_avg_pool2d(grid_FDss, {kFastSide, kFastSide})
                         .flatten(2)
                         .transpose(1, 2)
                         .reshape({-1, width});
    return at::cat({slow_ND, fast_ND});
  }

 private:
  // linspace(0, num_frames, 11) in float32, truncated, without its end.
  static std::vector<int64_t> slow_frames(int64_t num_frames) {
    Tensor edges = at::linspace(0, num_frames, kSlowFrames + 1, at::kFloat).to(at::kLong);
    return to_ids(edges.slice(0, 0, kSlowFrames));
  }

  MediaInput prepare_video(const Video& video, const Request&) const override {
    int64_t total = video.num_frames(), side_px = config().vision.image_size;
    std::vector<int64_t> numbers =
        video.is_sampled() ? spread_frames(total, total) : middle_frames(total, kFrames);
    std::vector<Tensor> frames;
    for (const Image& frame : video.read(numbers))
      frames.push_back(processor()(resize_pillow(frame, side_px, side_px, Filter::bicubic)));
    MediaInput media;
    media.pixel_values = at::stack(frames);
    media.rows =
        kSlowFrames * (config().tokens_per_image() / 2) + media.pixel_values.size(0) * kFastSide * kFastSide;
    return media;
  }
};

}  // namespace

System slowfast_llava() {
  return {.slug = "slowfast-llava",
          .accepts = [](const Checkpoint&) { return false; },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            Checkpoint own = c;  // LLaVA-1.6's template, where it is published, knows no videos
            own.chat_template = nullptr;
            return std::make_unique<SlowFastLlava>(
                own, w,
                Dialect{.default_template = question_template(knows_token(c, "<|im_start|>")),
                        .image_mark = "",
                        .video_mark = "<image>"});
          },
          .layouts = layouts({"image_newline"})};
}

}  // namespace vlm::llava
