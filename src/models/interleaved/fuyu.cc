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

#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>

#include "models/interleaved/systems.h"

namespace vlm::interleaved {

namespace {

constexpr char kSpeaker[] = "|SPEAKER|", kNewline[] = "|NEWLINE|", kBegin[] = "<s>";
constexpr char kBoxOpen[] = "<0x00>", kBoxClose[] = "<0x01>", kPointOpen[] = "<0x02>",
               kPointClose[] = "<0x03>", kAnswer[] = "<0x04>";
constexpr int64_t kPublishedSpeaker = 71011;
constexpr char kScale[] = "image_scale_factors", kGrid[] = "image_patch_grid";

#define VLM_FUYU_TURNS(before, behind)                                                                   \
  "{% for message in messages %}{% if message.role == 'assistant' %}<0x04>{{ message.content[0].text }}" \
  "|ENDOFTEXT|{% elif message.role == 'system' %}{{ message.content[0].text }}\n{% else %}" before       \
  "{% for part in message.content if part.type == 'text' %}{{ part.text | trim }}" behind                \
  "{% endfor %}{% endif %}{% endfor %}{% if add_generation_prompt %}<0x04>{% endif %}"
// A line break ends the question, places follow it.
constexpr char kFuyuTemplate[] =
    VLM_FUYU_TURNS("", "{% if not (part.text | trim).endswith(('</box>', '</point>')) %}\n{% endif %}");
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

std::string replace_all(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::vector<double> numbers_in(const std::string& list) {
  std::vector<double> numbers;
  for (size_t begin = 0; begin <= list.size();) {
    size_t end = std::min(list.find(',', begin), list.size());
    std::string word = list.substr(begin, end - begin);
    size_t used = 0;
    try {
      numbers.push_back(std::stod(word, &used));
    } catch (const std::exception&) {
      used = 0;
    }
    if (used == 0 || word.find_first_not_of(' ', used) != std::string::npos ||
        !std::isfinite(numbers.back()) || std::abs(numbers.back()) > 1e6)
      fail(ErrorKind::bad_request, "write <box>y1, x1, y2, x2</box> or <point>x, y</point>, in pixels",
           "\"{}\" is no list of pixels", list);
    begin = end + 1;
  }
  return numbers;
}

// "<box>12, 20, 64, 78</box>" -> "<0x00>6 10 32 39<0x01>" at a scale of 1; numbers round to even.
std::string scale_places(std::string text, double scale) {
  text = replace_all(replace_all(std::move(text), "<box>", kBoxOpen), "</box>", kBoxClose);
  text = replace_all(replace_all(std::move(text), "<point>", kPointOpen), "</point>", kPointClose);
  auto scale_between = [&](const std::string& open, const std::string& close, size_t count) {
    for (size_t begin = text.find(open); begin != std::string::npos; begin = text.find(open, begin + 1)) {
      size_t first = begin + open.size(), end = text.find(close, first);
      std::vector<double> numbers =
          end == std::string::npos ? std::vector<double>() : numbers_in(text.substr(first, end - first));
      if (numbers.size() != count)
        fail(ErrorKind::bad_request, "write <box>y1, x1, y2, x2</box> or <point>x, y</point>, in pixels",
             "a place of the prompt has {} numbers instead of {}", numbers.size(), count);
      std::string scaled;
      for (double number : numbers)
        scaled += (scaled.empty() ? "" : " ") +
                  std::to_string(static_cast<int64_t>(std::nearbyint(number / 2 * scale)));
      text.replace(first, end - first, scaled);
    }
  };
  scale_between(kBoxOpen, kBoxClose, 4);
  scale_between(kPointOpen, kPointClose, 2);
  return text;
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
  if (!processor_)
    fail(ErrorKind::bad_checkpoint, "get preprocessor_config.json of this checkpoint",
         "the checkpoint says nothing about its pictures");
  return (*processor_)(image);
}

std::string Fuyu::expand_text(std::string text, const std::vector<MediaInput>& media) const {
  std::string marks;
  for (const MediaInput& input : media) marks += patch_marks(input);
  double scale = media.empty() ? 1 : media.front().extra.at(kScale).item<double>();
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

std::vector<int64_t> Fuyu::tokenise(const std::string& text) const {
  std::vector<int64_t> ids;
  int64_t speaker = args().placeholders.image, newline = token(kNewline);
  std::string_view rest = text;
  for (;;) {
    if (rest.starts_with(kSpeaker))
      ids.push_back(speaker), rest.remove_prefix(sizeof kSpeaker - 1);
    else if (rest.starts_with(kNewline))
      ids.push_back(newline), rest.remove_prefix(sizeof kNewline - 1);
    else
      break;
  }
  ids.push_back(token(kBegin));
  add_text(std::string(rest), ids);
  return ids;
}

std::optional<std::vector<int64_t>> Fuyu::target_ids(const std::string& target,
                                                     const std::vector<MediaInput>& media) const {
  std::vector<int64_t> ids;
  add_text(scale_places(target, media.empty() ? 1 : media.front().extra.at(kScale).item<double>()), ids);
  return ids;
}

void Fuyu::expand_ids(Prompt& prompt) const {
  find_placeholders(prompt, args().placeholders);
}

Tensor Fuyu::encode(const MediaInput& media) const {
  return patch_embed_(media.pixel_values);
}

// Coordinates are tokens without space or comma between them: they are written out as in prompts.
std::string Fuyu::readable_text(const Tokenizer& tokenizer, std::span<const int64_t> ids,
                                const Request&) const {
  std::string text;
  size_t begin = 0;
  auto add_before = [&](size_t end) {
    std::string whole = tokenizer.decode(ids.first(end), false);
    text += whole.substr(std::min(tokenizer.decode(ids.first(begin), false).size(), whole.size()));
  };
  auto write_if_place = [&](size_t at, const char* open, const char* close, size_t count, const char* name) {
    if (at + count + 1 >= ids.size() || tokenizer.id_to_token(ids[at]) != open ||
        tokenizer.id_to_token(ids[at + count + 1]) != close)
      return false;
    std::string list;
    for (size_t idx = 1; idx <= count; ++idx)
      list += (idx > 1 ? ", " : "") + tokenizer.id_to_token(ids[at + idx]);
    add_before(at);
    text += fmt::format("<{}>{}</{}>", name, list, name);
    begin = at + count + 2;
    return true;
  };
  for (size_t at = 0; at < ids.size();)
    at = write_if_place(at, kBoxOpen, kBoxClose, 4, "box") ||
                 write_if_place(at, kPointOpen, kPointClose, 2, "point")
             ? begin
             : at + 1;
  add_before(ids.size());
  return text;
}

ParsedAnswer Fuyu::read_answer(const std::string& text, const Request& request) const {
  static const std::regex place("<(box|point)>(\\d{1,6}), (\\d{1,6})(?:, (\\d{1,6}), (\\d{1,6}))?</\\1>");
  double scale = request.images.empty() || !processor_ ? 1 : processor_->scale_of(request.images.front());
  ParsedAnswer answer;
  size_t begin = 0;
  for (std::sregex_iterator found(text.begin(), text.end(), place), none; found != none; ++found) {
    bool is_box = (*found)[1] == "box";
    if (is_box != (*found)[4].matched) continue;
    answer.text += text.substr(begin, static_cast<size_t>(found->position()) - begin);
    begin = static_cast<size_t>(found->position() + found->length());
    auto pixels = [&](size_t idx) {  // whole pixels first, then doubled, as the reference rounds
      return 2.0 * std::trunc(std::stod((*found)[idx].str()) / scale);
    };
    Region region;
    if (is_box)
      region.box_xyxy = {pixels(3), pixels(2), pixels(5), pixels(4)};
    else
      region.point = Point{pixels(2), pixels(3)};
    answer.regions.push_back(std::move(region));
  }
  answer.text += text.substr(begin);
  return answer;
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
  return {
      .slug = "fuyu",
      .accepts =
          [](const Checkpoint& c) { return is_fuyu(c) && !is_named(c, "otter") && !is_named(c, "mantis"); },
      .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
        return std::make_unique<Fuyu>(c, w, kFuyuTemplate);
      },
      .layouts = fuyu_layouts()};
}

System otterhd() {
  return {.slug = "otterhd",
          .accepts = [](const Checkpoint& c) { return is_fuyu(c) && is_named(c, "otter"); },
          .make = [](const Checkpoint& c, const Weights& w) -> std::unique_ptr<Model> {
            return std::make_unique<Fuyu>(c, w, kOtterTemplate);
          },
          .layouts = fuyu_layouts()};
}

}  // namespace vlm::interleaved
