// Idefics3 [idefics3]: square tiles of a picture and the whole -> SigLIP -> pixel shuffle -> Llama 3.1.
// Paper: arXiv:2408.12637.  Reference: transformers Idefics3ForConditionalGeneration.
// Checkpoints: HuggingFaceM4/Idefics3-8B-Llama3, HuggingFaceTB/SmolVLM-{256M,500M}-Instruct,
// SmolVLM-Instruct.
//
//   picture --longer side to 1456, both sides up to multiples of 364, tiles + whole--> pixels_N3SS
//   pixels_N3SS --NativeVit--> x_NPV --pixel shuffle--> x_NQ(4V) --Linear--> rows_NQD
//   ids_T --embed--> x_TD --splice at <image>--> x_TD --LLaMA--> logits_TK
//
// N views of S = 364, P = 26^2 patches, Q = P / 4 = 169 rows a view, V = 1152, D = 4096, K = 128259.
// Unusual: small pictures are enlarged; up to three resizes through 8 bits; a view's place is written in
// front of it as text; an empty line stands between the tiles and the whole; the chat template writes the
// begin token.
#include <algorithm>
#include <cmath>

#include "models/interleaved/idefics_family.h"
#include "models/interleaved/systems.h"
#include "parts/connectors/pixel_shuffle.h"

namespace vlm::interleaved {

namespace {

constexpr int64_t kPublishedImageToken = 128257;
constexpr int64_t kMaxSide = 4096;  // of a resized picture, whatever the file says
constexpr int64_t kMostTiles = 64;  // along one side
constexpr char kGrid[] = "image_tile_grid";
constexpr char kGlobalTag[] = "<global-img>";
constexpr char kTemplate[] =
    "{{ bos_token }}{% for message in messages %}{{ message['role'].capitalize() }}"
    "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}<image>{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}";

struct Size {
  int64_t height = 0, width = 0;
};

// The longer side becomes `longest`, the shorter one follows, truncated.
Size with_longer_side(const Size& size, int64_t longest) {
  double aspect = static_cast<double>(size.width) / static_cast<double>(size.height);
  if (size.width >= size.height)
    return {static_cast<int64_t>(static_cast<double>(longest) / aspect), longest};
  return {longest, static_cast<int64_t>(static_cast<double>(longest) * aspect)};
}

struct Processor {
  int64_t longest_edge = 1456;
  int64_t side = 364;  // of a view
  bool do_image_splitting = true;
  ImageProcessor values;

  static Processor from(const Json& json) {
    Processor processor;
    processor.longest_edge = json.find("size").integer("longest_edge", 1, 1 << 14, 4 * 364);
    processor.side = json.find("max_image_size").integer("longest_edge", 1, 1 << 12, 364);
    if (processor.longest_edge > kMostTiles * processor.side)
      fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
           "{}: a side of {} pixels in tiles of {}", json.path(), processor.longest_edge, processor.side);
    processor.do_image_splitting = json.get("do_image_splitting", true);
    json.require("do_resize", true);
    processor.values.resample = Filter::lanczos;
    processor.values.read_values(json);
    return processor;
  }

  Image resized(const Image& image, const Size& size) const {
    return resize_pillow(image, size.height, size.width, values.resample);
  }

  Image at_longest_edge(const Image& image) const {
    Size size = with_longer_side({image.height, image.width}, longest_edge);
    int64_t& shorter = image.width >= image.height ? size.height : size.width;
    shorter = std::max<int64_t>(1, shorter + shorter % 2);
    if (std::max(size.height, size.width) > kMaxSide) size = with_longer_side(size, kMaxSide);
    return resized(image, {std::max<int64_t>(1, size.height), std::max<int64_t>(1, size.width)});
  }

  // The views of a picture and how many of them are tiles, by rows and columns; {0, 0}: a single view.
  std::pair<std::vector<Image>, Size> operator()(const Image& image) const {
    Image shown = at_longest_edge(image);
    if (!do_image_splitting) return {{resized(shown, {side, side})}, {}};
    auto up = [&](int64_t pixels) { return std::max<int64_t>(1, (pixels + side - 1) / side) * side; };
    Size size{shown.height, shown.width};
    int64_t longer = up(std::max(size.height, size.width));
    size = with_longer_side(size, longer);
    shown = resized(shown, {up(size.height), up(size.width)});
    Size grid{shown.height / side, shown.width / side};
    if (grid.height * grid.width == 1) return {{std::move(shown)}, {}};
    std::vector<Image> views;
    for (int64_t row = 0; row < grid.height; ++row)
      for (int64_t column = 0; column < grid.width; ++column)
        views.push_back(crop(shown, row * side, column * side, side, side));
    views.push_back(resized(shown, {side, side}));
    return {std::move(views), grid};
  }
};

class Idefics3 final : public SplicedGenerator {
 public:
  Idefics3(const Checkpoint& checkpoint, const Weights& w)
      : SplicedGenerator(idefics_text(checkpoint.config), w, checkpoint,
                         {kImageMark, "", idefics_image_token(checkpoint, kPublishedImageToken)}, kTemplate),
        vision_(idefics_vision(checkpoint.config), w / "model.vision_model"),
        factor_(checkpoint.config.integer("scale_factor", 1, 64, 2)) {
    checkpoint.config.ignore({"image_seq_len", "pad_token_id", "vocab_size"});
    const VitConfig& vision = vision_.config();
    if (vision.grid() % factor_ != 0)
      fail(ErrorKind::bad_checkpoint, "compare config.json with the published one",
           "config.json: scale_factor {} does not divide the {} patches of a side", factor_, vision.grid());
    projection_ = nn::Linear(w / "model.connector.modality_projection.proj",
                             factor_ * factor_ * vision.encoder.hidden_size, text().config().hidden_size,
                             nn::Bias::none);
    if (!checkpoint.preprocessor.is_null()) processor_ = Processor::from(checkpoint.preprocessor);
    if (processor_ && processor_->side != vision.image_size)
      fail(ErrorKind::bad_checkpoint, "compare both files with the published ones",
           "preprocessor_config.json: views of {} pixels, config.json says {}", processor_->side,
           vision.image_size);
  }

  Tensor encode(const MediaInput& media) const override {
    int64_t grid = vision_.config().grid();
    Tensor is_real_Nhw = at::ones({media.pixel_values.size(0), grid, grid}, at::kBool);
    Tensor x_NPV = vision_(media.pixel_values, is_real_Nhw);
    return trace::point("hidden/connector", projection_(pixel_shuffle(x_NPV, grid, grid, factor_)))
        .flatten(0, 1);
  }

  PartNames part_names() const override { return {"*vision_model*", "*connector*", "*"}; }

 private:
  int64_t rows_per_view() const { return vision_.config().num_patches() / (factor_ * factor_); }

  MediaInput prepare_image(const Image& image, const Request&) const override {
    auto [views, grid] = needed(processor_)(image);
    std::vector<Tensor> pixels;
    for (const Image& view : views) pixels.push_back(processor_->values.pixel_values(view));
    MediaInput media;
    media.pixel_values = at::stack(pixels);
    media.rows = static_cast<int64_t>(views.size()) * rows_per_view();
    media.extra[kGrid] = ids_tensor({grid.height, grid.width}).unsqueeze(0);
    return media;
  }

  std::string expand_text(std::string text, const std::vector<MediaInput>& media) const override {
    const std::string fake = kFakeToken, rows = repeat(kImageMark, rows_per_view());
    return replace_marks(text, media, [&](const MediaInput& input) {
      const Tensor& grid = input.extra.at(kGrid);
      int64_t height = grid[0][0].item<int64_t>(), width = grid[0][1].item<int64_t>();
      std::string tiles;
      for (int64_t row = 1; row <= height; ++row) {
        for (int64_t column = 1; column <= width; ++column)
          tiles += fake + fmt::format("<row_{}_col_{}>", row, column) + rows;
        tiles += "\n";
      }
      return tiles + (tiles.empty() ? "" : "\n") + fake + kGlobalTag + rows + fake;
    });
  }

  std::vector<int64_t> tokenise(const std::string& text) const override {
    const std::string& begin = tokenizer().info.bos_token;
    bool has_begin = !begin.empty() && text.starts_with(begin);
    return tokenizer().tokenizer->ids(text, /*add_special_tokens=*/!has_begin);
  }

  void expand_ids(Prompt& prompt) const override { find_placeholders(prompt, args().placeholders); }

  NativeVit vision_;
  int64_t factor_;
  nn::Linear projection_;
  std::optional<Processor> processor_;
};

}  // namespace

System idefics3() {
  return {
      .slug = "idefics3",
      .accepts = [](const Checkpoint& c) { return c.has_architecture("Idefics3ForConditionalGeneration"); },
      .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
        return std::make_unique<Idefics3>(c, w);
      }};
}

}  // namespace vlm::interleaved
