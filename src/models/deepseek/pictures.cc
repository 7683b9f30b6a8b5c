#include "models/deepseek/pictures.h"

#include <algorithm>
#include <cmath>

namespace vlm::deepseek {

namespace {

constexpr int64_t kMostPixels = 1 << 14;  // of a side

std::array<double, 3> three(const Json& json, const std::string& key, std::array<double, 3> fallback) {
  std::vector<double> values = json.get(key, std::vector<double>{fallback.begin(), fallback.end()});
  if (values.size() != 3)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: {}: expected 3 numbers, found {}", json.path(), key, values.size());
  return {values[0], values[1], values[2]};
}

constexpr std::array<double, 3> kHalf{0.5, 0.5, 0.5};
constexpr std::array<double, 3> kClipMean{0.48145466, 0.4578275, 0.40821073};
constexpr std::array<double, 3> kClipStd{0.26862954, 0.26130258, 0.27577711};

std::array<uint8_t, 3> colour(const Json& json, const std::string& key, const std::array<double, 3>& mean) {
  std::array<double, 3> values = three(json, key, {mean[0] * 255, mean[1] * 255, mean[2] * 255});
  std::array<uint8_t, 3> bytes{};
  for (size_t channel = 0; channel < 3; ++channel)
    bytes[channel] = static_cast<uint8_t>(std::clamp(values[channel], 0.0, 255.0));
  return bytes;
}

int64_t side_from(const Json& json, const std::string& key, int64_t fallback) {
  Json size = json.find(key);
  if (!size.is_object()) return json.integer(key, 1, kMostPixels, fallback);
  int64_t side = size.integer("height", 1, kMostPixels);
  if (size.integer("width", 1, kMostPixels) != side)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one", "{} is not a square",
         size.path());
  return side;
}

Filter filter_from(const Json& json, const std::string& key, Filter fallback) {
  constexpr int64_t kBilinear = 2, kBicubic = 3;  // Pillow's numbers
  int64_t code = json.get(key, fallback == Filter::bicubic ? kBicubic : kBilinear);
  if (code != kBilinear && code != kBicubic)
    fail(ErrorKind::unsupported, "known: 2 (bilinear), 3 (bicubic)", "{}: {} = {}", json.path(), key, code);
  return code == kBicubic ? Filter::bicubic : Filter::bilinear;
}

View view_from(const Json& json, const std::string& prefix, int64_t side, std::array<double, 3> mean,
               std::array<double, 3> deviation) {
  View view;
  view.side = side_from(json, prefix + "size", side);
  view.min_size = json.integer("min_size", 1, kMostPixels, 14);
  view.filter = filter_from(json, prefix + "resample", Filter::bicubic);
  view.normaliser.rescale_factor =
      json.get("do_rescale", true) ? json.get("rescale_factor", 1.0 / 255.0) : 1.0;
  view.normaliser.do_normalize = json.get("do_normalize", true);
  view.normaliser.image_mean = three(json, prefix + "image_mean", mean);
  view.normaliser.image_std = three(json, prefix + "image_std", deviation);
  view.background = colour(json, prefix + "background_color", view.normaliser.image_mean);
  return view;
}

void check_type(const Json& json, std::initializer_list<const char*> known) {
  std::string type = json.get("image_processor_type", "VLMImageProcessor"), list;
  if (type.ends_with("Fast")) type.resize(type.size() - 4);
  for (const char* word : known) {
    if (type == word) return;
    list += (list.empty() ? "" : ", ") + std::string(word);
  }
  fail(ErrorKind::unsupported, "known: " + list, "{}: image_processor_type \"{}\" is not implemented here",
       json.path(), type);
}

}  // namespace

Image View::square(const Image& image) const {
  double longest = static_cast<double>(std::max(image.height, image.width)),
         target = static_cast<double>(side);
  auto scaled = [&](int64_t length) {
    double exact = static_cast<double>(length);
    int64_t whole = truncates ? static_cast<int64_t>(exact / longest * target)
                              : static_cast<int64_t>(std::nearbyint(exact * (target / longest)));
    return std::max(whole, min_size);
  };
  int64_t height = scaled(image.height), width = scaled(image.width), longer = std::max(height, width);
  Image resized = resize_pillow(image, height, width, filter);
  return pad(resized, longer, longer, (longer - height) / 2, (longer - width) / 2, background);
}

Pictures Pictures::hugging_face(const Json& json) {
  check_type(json, {"DeepseekVLImageProcessor", "DeepseekVLHybridImageProcessor"});
  Pictures pictures;
  pictures.low = view_from(json, "", 384, kHalf, kHalf);
  if (json.has("high_res_size")) pictures.high = view_from(json, "high_res_", 1024, kClipMean, kClipStd);
  json.require("do_resize", true);
  json.require("do_pad", true);
  json.ignore({"do_convert_rgb", "processor_class"});
  return pictures;
}

Pictures Pictures::authors(const Json& json, const Json& params) {
  check_type(json, {"VLMImageProcessor"});
  View view = view_from(json, "", 384, kHalf, kHalf);
  view.side = json.integer("image_size", 1, kMostPixels, view.side);
  view.truncates = true;
  json.ignore({"processor_class"});
  Pictures pictures;
  pictures.low = view;
  if (!params.has("high_res_cfg")) return pictures;
  // Each tower normalises for itself what the processor leaves between 0 and 1.
  auto own = [&](const char* key, std::array<double, 3> mean, std::array<double, 3> deviation) {
    Json tower = params.at(key);
    View seen = view;
    seen.side = tower.integer("image_size", 1, kMostPixels, view.side);
    seen.normaliser.do_normalize = true;
    seen.normaliser.image_mean = three(tower, "pixel_mean", mean);
    seen.normaliser.image_std = three(tower, "pixel_std", deviation);
    return seen;
  };
  pictures.high = own("high_res_cfg", kClipMean, kClipStd);
  pictures.high->side = view.side;
  pictures.low = own("low_res_cfg", kHalf, kHalf);
  pictures.scales_floats = true;
  return pictures;
}

Tensor Pictures::high_pixels(const Image& image) const {
  return high.value().normaliser.pixel_values(high->square(image)).unsqueeze(0);
}

Tensor Pictures::low_pixels(const Image& image) const {
  if (!high) return low.normaliser.pixel_values(low.square(image)).unsqueeze(0);
  Image square = high->square(image);
  if (!scales_floats) return low.normaliser.pixel_values(low.square(square)).unsqueeze(0);
  FloatImage scaled = to_float(square);
  scaled = resize_torch(scaled, low.side, low.side, Filter::bilinear, /*antialias=*/true);
  Tensor values = at::from_blob(scaled.values.data(), {1, 3, low.side, low.side}, at::kFloat) *
                  low.normaliser.rescale_factor;
  auto column = [](const std::array<double, 3>& numbers) {
    return at::tensor({numbers[0], numbers[1], numbers[2]}, at::kFloat).view({1, 3, 1, 1});
  };
  return (values - column(low.normaliser.image_mean)) / column(low.normaliser.image_std);
}

}  // namespace vlm::deepseek
