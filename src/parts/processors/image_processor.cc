#include "parts/processors/image_processor.h"

#include <algorithm>
#include <cmath>

namespace vlm {

namespace {

constexpr int64_t kMaxSide = 1 << 14;

Filter filter_from(const Json& code) {
  // Pillow's numbers.
  switch (code.as<int64_t>()) {
    case 0:
      return Filter::nearest;
    case 1:
      return Filter::lanczos;
    case 2:
      return Filter::bilinear;
    case 3:
      return Filter::bicubic;
    case 4:
      return Filter::box;
    case 5:
      return Filter::hamming;
    default:
      break;
  }
  fail(ErrorKind::bad_checkpoint, "use one of Pillow's filters 0 to 5", "{} = {}", code.path(), code.dump());
}

std::array<double, 3> channels_from(const Json& list) {
  if (list.is_number()) {
    double value = list.as<double>();
    return {value, value, value};
  }
  std::vector<double> values = list.as<std::vector<double>>();
  if (values.size() != 3)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: expected 3 numbers, found {}", list.path(), values.size());
  return {values[0], values[1], values[2]};
}

std::array<int64_t, 2> sides_from(const Json& size) {
  if (size.is_number()) {
    int64_t side = size.as<int64_t>();
    if (side < 1 || side > kMaxSide)
      fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
           "{} = {} is out of range [1, {}]", size.path(), side, kMaxSide);
    return {side, side};
  }
  return {size.integer("height", 1, kMaxSide), size.integer("width", 1, kMaxSide)};
}

}  // namespace

ImageProcessor ImageProcessor::from(const Json& json) {
  std::string type =
      json.get("image_processor_type", json.get("feature_extractor_type", "CLIPImageProcessor"));
  if (type.ends_with("Fast")) type.resize(type.size() - 4);
  bool is_clip = type == "CLIPImageProcessor" || type == "CLIPFeatureExtractor" ||
                 type == "LlavaImageProcessor" || type == "LlavaNextImageProcessor";
  bool is_siglip = type == "SiglipImageProcessor";
  bool is_vit = type == "ViTImageProcessor" || type == "ViTFeatureExtractor";
  bool is_blip = type == "BlipImageProcessor" ||
                 type == "LlavaOnevisionImageProcessor";  // whose absent keys mean the same
  if (!is_clip && !is_siglip && !is_vit && !is_blip)
    fail(ErrorKind::unsupported,
         "known: CLIPImageProcessor, SiglipImageProcessor, ViTImageProcessor, BlipImageProcessor",
         "{}: image_processor_type \"{}\" is not implemented here", json.path(), type);

  ImageProcessor processor;
  processor.resample = is_vit ? Filter::bilinear : Filter::bicubic;
  if (is_clip || is_blip) {
    processor.image_mean = {0.48145466, 0.4578275, 0.40821073};
    processor.image_std = {0.26862954, 0.26130258, 0.27577711};
  }
  processor.do_resize = json.get("do_resize", true);
  Json size = json.find("size");
  if (size.is_null()) {
    if (is_clip)
      processor.shortest_edge = 224;
    else
      processor.size = is_blip ? std::array<int64_t, 2>{384, 384} : std::array<int64_t, 2>{224, 224};
  } else if (size.is_number() && is_clip) {
    processor.shortest_edge = json.integer("size", 1, kMaxSide);
  } else if (size.is_object() && size.has("shortest_edge")) {
    processor.shortest_edge = size.integer("shortest_edge", 1, kMaxSide);
  } else {
    processor.size = sides_from(size);
  }
  if (json.get("use_square_size", false) && processor.shortest_edge) {  // KOSMOS-2
    processor.size = {*processor.shortest_edge, *processor.shortest_edge};
    processor.shortest_edge.reset();
  }
  if (json.get("do_center_crop", is_clip)) {
    Json crop = json.find("crop_size");
    processor.crop_size = crop.is_null() ? std::array<int64_t, 2>{224, 224} : sides_from(crop);
  } else {
    json.ignore({"crop_size"});
  }
  processor.pad_to_square = type == "LlavaImageProcessor" && json.get("do_pad", false);
  processor.read_values(json);
  json.ignore({"aspect_ratio_setting", "image_grid_pinpoints", "do_convert_rgb", "processor_class",
               "auto_map", "data_format", "input_data_format", "_valid_processor_keys"});
  return processor;
}

void ImageProcessor::read_values(const Json& json) {
  if (Json code = json.find("resample"); !code.is_null()) resample = filter_from(code);
  rescale_factor = json.get("do_rescale", true) ? json.get("rescale_factor", 1.0 / 255.0) : 1.0;
  do_normalize = json.get("do_normalize", true);
  if (Json mean = json.find("image_mean"); !mean.is_null()) image_mean = channels_from(mean);
  if (Json deviation = json.find("image_std"); !deviation.is_null()) image_std = channels_from(deviation);
}

Image ImageProcessor::geometry(const Image& image) const {
  Image current = image;
  if (pad_to_square && current.height != current.width) {
    int64_t side = std::max(current.height, current.width);
    std::array<uint8_t, 3> colour{};
    for (size_t channel = 0; channel < 3; ++channel)
      colour[channel] = static_cast<uint8_t>(image_mean[channel] * 255);
    current = pad(current, side, side, (side - current.height) / 2, (side - current.width) / 2, colour);
  }
  if (do_resize && shortest_edge) {
    // The long side is truncated, not rounded (transformers get_resize_output_image_size).
    int64_t shorter = std::min(current.height, current.width),
            longer = std::max(current.height, current.width);
    int64_t scaled = static_cast<int64_t>(static_cast<double>(*shortest_edge) * static_cast<double>(longer) /
                                          static_cast<double>(shorter));
    bool is_tall = current.height >= current.width;
    current = resize_pillow(current, is_tall ? scaled : *shortest_edge, is_tall ? *shortest_edge : scaled,
                            resample);
  } else if (do_resize && size) {
    current = resize_pillow(current, (*size)[0], (*size)[1], resample);
  }
  if (crop_size) {
    auto [height, width] = *crop_size;
    // Floor division, also for pictures smaller than the crop: they are filled with black around.
    auto start = [&](int64_t have, int64_t want) {
      double half = static_cast<double>(have - want) / 2;
      return static_cast<int64_t>(crop_rounds_to_even ? std::nearbyint(half) : std::floor(half));
    };
    current = crop(current, start(current.height, height), start(current.width, width), height, width);
  }
  return current;
}

Tensor ImageProcessor::pixel_values(const Image& image) const {
  Tensor bytes =
      at::from_blob(const_cast<uint8_t*>(image.pixels.data()), {image.height, image.width, 3}, at::kByte);
  // In double precision, as NumPy does: the same bits as the reference's.
  Tensor values = (bytes.permute({2, 0, 1}).to(at::kDouble) * rescale_factor).to(at::kFloat);
  if (do_normalize) {
    auto column = [](const std::array<double, 3>& numbers) {
      return at::tensor({static_cast<float>(numbers[0]), static_cast<float>(numbers[1]),
                         static_cast<float>(numbers[2])})
          .view({3, 1, 1});
    };
    values = (values - column(image_mean)) / column(image_std);
  }
  return values.contiguous();
}

}  // namespace vlm
