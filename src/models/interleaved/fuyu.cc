// Fuyu-8B [fuyu]: patches of pictures go straight into a Persimmon decoder; no vision encoder.
// Reference: transformers FuyuForCausalLM, FuyuProcessor.
// Checkpoints: adept/fuyu-8b.
//
//   picture HW3 --shrink to the canvas if larger, pad to whole patches--> patches_PU --Linear--> rows_PD
//   [|SPEAKER| x columns, |NEWLINE|] x rows, <s>, prompt, <0x04> --embed, rows at |SPEAKER|--> x_TD
//   x_TD --CausalDecoder--> logits_TK
//
// U = 30 * 30 * 3, D = 4096, K = 262144.
// Unusual: the picture stands in front of <s>; the padding is the byte 1, not grey; <box> and <point> in a
// prompt hold pixels of the original, which become half their value in pixels of the shrunk picture, one
// token each; the answer begins behind <0x04>.
//
// OtterHD-8B [otterhd]: the same graph, tuned at mixed resolutions on "User: ... Assistant:".
// Paper: arXiv:2311.04219.  Checkpoints: Otter-AI/OtterHD-8B.
#include "models/interleaved/fuyu.h"

#include <nlohmann/json.hpp>
#include <regex>

#include "models/interleaved/fuyu_places.h"
#include "models/interleaved/systems.h"
#include "parts/processors/needed.h"

namespace vlm::interleaved {

namespace {

constexpr char kSpeaker[] = "|SPEAKER|", kNewline[] = "|NEWLINE|", kBegin[] = "<s>";
constexpr char kAnswer[] = "<0x04>";
constexpr int64_t kPublishedSpeaker = 71011;
constexpr char kScale[] = "image_scale_factors", kGrid[] = "image_patch_grid";

#define VLM_FUYU_TURNS(before, behind)                                                                   \
  "{% for message in messages %}{% if message.role == 'assistant' %}<0x04>{{ message.content[0].text }}" \
  "|ENDOFTEXT|{% elif message.role == 'system' %}{{ message.content[0].text }}\n{% else %}" before       \
  "{% for part in message.content if part.type == 'text' %}{{ part.text | trim }}" behind                \
  "{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %}<0x04>{% endif %}"
// A line break ends the question, places follow it.
constexpr char kFuyuTemplate[] = VLM_FUYU_TURNS(
    "", "{% if not (part.text | trim).endswith(('</box>', '</point>')) %}{{ '\n' }}{% endif %}");
constexpr char kOtterTemplate[] = VLM_FUYU_TURNS("User: ", " Assistant:");
#undef VLM_FUYU_TURNS

// Keys at the top and in text_config repeat each other; the latter win.
DecoderConfig text_config(const Json& json) {
  nlohmann::json text = json.raw();
  if (json.has("text_config")) text.update(json.at("text_config").raw());
  text["model_type"] = "persimmon";
  return DecoderConfig::from(Json::wrap(std::move(text), "config.json"));
}

int64_t speaker_id(const Checkpoint& checkpoint) {
  if (checkpoint.config.has("image_token_id")) return checkpoint.config.at("image_token_id").as<int64_t>();
  const auto& tokenizer = checkpoint.tokenizer.tokenizer;
  return tokenizer ? tokenizer->token_to_id(kSpeaker).value_or(kPublishedSpeaker) : kPublishedSpeaker;
}

}  // namespace

FuyuProcessor FuyuProcessor::from(const Json& json, int64_t patch_side) {
  constexpr int64_t kMaxSide = 1 << 14;
  FuyuProcessor processor;
  Json size = json.find("size");
  processor.height =
      size.is_null() ? json.integer("target_height", 1, kMaxSide, 1080) : size.integer("height", 1, kMaxSide);
  processor.width =
      size.is_null() ? json.integer("target_width", 1, kMaxSide, 1920) : size.integer("width", 1, kMaxSide);
  processor.side = json.find("patch_size").integer("height", 1, kMaxSide, patch_side);
  if (processor.side != patch_side)
    fail(ErrorKind::bad_checkpoint, "compare both files with the published ones",
         "{}: patches of {}, config.json says {}", json.path(), processor.side, patch_side);
  json.require("padding_mode", "constant");
  processor.padding_value = json.get("padding_value", 1.0);
  processor.values.resample = Filter::bilinear;
  processor.values.read_values(json);
  return processor;
}

double FuyuProcessor::scale_of(const Image& image) const {
  if (image.width <= width && image.height <= height) return 1;
  return std::min(static_cast<double>(height) / static_cast<double>(image.height),
                  static_cast<double>(width) / static_cast<double>(image.width));
}

MediaInput FuyuProcessor::operator()(const Image& image) const {
  double scale = scale_of(image);
  auto scaled = [&](int64_t pixels) {
    return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(pixels) * scale));
  };
  Image shown =
      scale < 1 ? resize_pillow(image, scaled(image.height), scaled(image.width), values.resample) : image;
  int64_t rows = (shown.height + side - 1) / side, columns = (shown.width + side - 1) / side;
  Tensor pixels_3HW = values.pixel_values(shown);
  Tensor padded_3HW = at::empty({3, rows * side, columns * side});
  for (int64_t channel = 0; channel < 3; ++channel) {
    double value = padding_value * values.rescale_factor;
    size_t at = static_cast<size_t>(channel);
    padded_3HW[channel].fill_(values.do_normalize ? (value - values.image_mean[at]) / values.image_std[at]
                                                  : value);
  }
  padded_3HW.narrow(1, 0, shown.height).narrow(2, 0, shown.width).copy_(pixels_3HW);
  MediaInput media;
  media.pixel_values = padded_3HW.view({3, rows, side, columns, side})
                           .permute({1, 3, 2, 4, 0})
                           .reshape({rows * columns, side * side * 3});
  media.rows = rows * columns;
  media.extra[kScale] =
      at::full({1}, static_cast<double>(shown.height) / static_cast<double>(image.height), at::kDouble);
  media.extra[kGrid] = ids_tensor({rows, columns}).unsqueeze(0);
  return media;
}

double fuyu_scale(const MediaInput& media) {
  return media.extra.at(kScale).item<double>();
}

std::string patch_marks(const MediaInput& media) {
  const Tensor& grid = media.extra.at(kGrid);
  int64_t rows = grid[0][0].item<int64_t>(), columns = grid[0][1].item<int64_t>();
  std::string row, marks;
  for (int64_t column = 0; column < columns; ++column) row += kSpeaker;
  row += kNewline;
  for (int64_t idx = 0; idx < rows; ++idx) marks += row;
  return marks;
}

Fuyu::Fuyu(const Checkpoint& checkpoint, const Weights& w, const char* default_template, SplicedArgs args)
    : SplicedGenerator(text_config(checkpoint.config), w / "language_model", checkpoint,
                       (args.placeholders = speaker_id(checkpoint), args), default_template) {
  const Json& json = checkpoint.config;
  int64_t side = json.integer("patch_size", 1, 1 << 10, 30);
  json.ignore({"image_size", "text_model_type", "vocab_size"});
  patch_embed_ = nn::Linear(w / "vision_embed_tokens", side * side * json.integer("num_channels", 3, 3, 3),
                            text().config().hidden_size, nn::Bias::yes);
  if (!checkpoint.preprocessor.is_null()) processor_ = FuyuProcessor::from(checkpoint.preprocessor, side);
}

// Places that come beside the text are written behind the question.
Request Fuyu::with_regions(const Request& request) const {
  std::string places;
  for (const auto& [x0, y0, x1, y1] : request.regions.boxes_xyxy)
    places += fmt::format("<box>{}, {}, {}, {}</box>", y0, x0, y1, x1);
  for (const Point& point : request.regions.points)
    places += fmt::format("<point>{}, {}</point>", point.x, point.y);
  if (places.empty()) return request;
  Request written = request;
  written.regions = {};
  if (written.messages.empty())
    written.prompt += places;
  else
    written.messages.back().content.push_back({ContentPart::Kind::text, places});
  return written;
}

Prompt Fuyu::prepare(const Request& request) const {
  return SplicedGenerator::prepare(with_regions(request));
}

Prompt Fuyu::prepare_example(const Request& request) const {
  return SplicedGenerator::prepare_example(with_regions(request));
}

MediaInput Fuyu::prepare_image(const Image& image, const Request& request) const {
  if (args().image_mark.empty() && request.images.size() > 1)
    fail(ErrorKind::bad_request, "ask about one picture at a time", "{} pictures were given, 1 can be read",
         request.images.size());
  return needed(processor_)(image);
}

std::string Fuyu::expand_text(std::string text, const std::vector<MediaInput>& media) const {
  std::string marks;
  for (const MediaInput& input : media) marks += patch_marks(input);
  double scale = media.empty() ? 1 : fuyu_scale(media.front());
  text = scale_places(std::move(text), scale);
  if (text.find(kAnswer) == std::string::npos) text += kAnswer;
  return marks + text;
}

int64_t Fuyu::token(const std::string& piece) const {
  std::optional<int64_t> id = tokenizer().tokenizer->token_to_id(piece);
  if (!id)
    fail(ErrorKind::bad_checkpoint, "get tokenizer.json of this checkpoint", "the vocabulary has no \"{}\"",
         piece);
  return *id;
}

void Fuyu::add_text(const std::string& text, std::vector<int64_t>& ids) const {
  static const std::regex mark("<0x0[0-4]>");
  bool is_place = false;
  auto add_run = [&](const std::string& run) {
    if (run.empty()) return;
    if (!is_place) {
      std::vector<int64_t> pieces = tokenizer().tokenizer->ids(run, /*add_special_tokens=*/false);
      ids.insert(ids.end(), pieces.begin(), pieces.end());
      return;
    }
    for (size_t begin = 0; begin < run.size();) {
      size_t end = std::min(run.find(' ', begin), run.size());
      std::string number = run.substr(begin, end - begin);
      std::optional<int64_t> id = tokenizer().tokenizer->token_to_id(number);
      if (!id)
        fail(ErrorKind::bad_request, "give places inside the picture, in its own pixels",
             "the vocabulary has no place {}", number);
      ids.push_back(*id);
      begin = end + 1;
    }
  };
  size_t begin = 0;
  for (std::sregex_iterator found(text.begin(), text.end(), mark), none; found != none; ++found) {
    size_t at = static_cast<size_t>(found->position());
    add_run(text.substr(begin, at - begin));
    ids.push_back(token(found->str()));
    is_place = found->str() == kBoxOpen || found->str() == kPointOpen;
    begin = at + found->str().size();
  }
  add_run(text.substr(begin));
}

void Fuyu::add_patches(std::string_view& text, std::vector<int64_t>& ids) const {
  int64_t newline = token(kNewline);
  for (;;) {
    if (text.starts_with(kSpeaker))
      ids.push_back(args().placeholders.image), text.remove_prefix(sizeof kSpeaker - 1);
    else if (text.starts_with(kNewline))
      ids.push_back(newline), text.remove_prefix(sizeof kNewline - 1);
    else
      return;
  }
}

std::vector<int64_t> Fuyu::tokenise(const std::string& text) const {
  std::vector<int64_t> ids;
  std::string_view rest = text;
  add_patches(rest, ids);
  ids.push_back(token(kBegin));
  add_text(std::string(rest), ids);
  return ids;
}

std::optional<std::vector<int64_t>> Fuyu::target_ids(const std::string& target,
                                                     const std::vector<MediaInput>& media) const {
  std::vector<int64_t> ids;
  add_text(scale_places(target, media.empty() ? 1 : fuyu_scale(media.front())), ids);
  return ids;
}

void Fuyu::expand_ids(Prompt& prompt) const {
  find_placeholders(prompt, args().placeholders);
}

Tensor Fuyu::encode(const MediaInput& media) const {
  return patch_embed_(media.pixel_values);
}

std::string Fuyu::readable_text(const Tokenizer& tokenizer, std::span<const int64_t> ids,
                                const Request&) const {
  return write_places(tokenizer, ids);
}

ParsedAnswer Fuyu::read_answer(const std::string& text, const Request& request) const {
  return read_places(
      text, request.images.empty() || !processor_ ? 1 : processor_->scale_of(request.images.front()));
}

std::string Fuyu::settled_text(const std::string& text, const Request&) const {
  return interleaved::settled_text(text);
}

std::vector<std::vector<Rename>> fuyu_layouts() {
  return {{{"language_model.model.", "model.language_model."},
           {"language_model.lm_head.", "lm_head."},
           {"vision_embed_tokens.", "model.vision_embed_tokens."}}};
}

namespace {

bool is_fuyu(const Checkpoint& checkpoint) {
  return checkpoint.has_architecture("FuyuForCausalLM");
}

}  // namespace

System fuyu() {
  return {.slug = "fuyu",
          .accepts = [](const Checkpoint& c) { return is_fuyu(c) && !is_named(c, "otter") && !is_mantis(c); },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<Fuyu>(c, w, kFuyuTemplate);
          },
          .layouts = fuyu_layouts()};
}

System otterhd() {
  return {.slug = "otterhd",
          .accepts = [](const Checkpoint& c) { return is_fuyu(c) && is_named(c, "otter") && !is_mantis(c); },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<Fuyu>(c, w, kOtterTemplate);
          },
          .layouts = fuyu_layouts()};
}

}  // namespace vlm::interleaved
