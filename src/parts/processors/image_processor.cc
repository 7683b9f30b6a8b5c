#include "parts/processors/image_processor.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"

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
  Ground ground{image.height, image.width, 0, 0, {}};
  if (pad_to_square && image.height != image.width) {
    ground.height = ground.width = std::max(image.height, image.width);
    ground.top = (ground.height - image.height) / 2;
    ground.left = (ground.width - image.width) / 2;
    for (size_t channel = 0; channel < 3; ++channel)
      ground.fill[channel] = static_cast<uint8_t>(image_mean[channel] * 255);
  }
  int64_t height = ground.height, width = ground.width;
  if (do_resize && shortest_edge) {
    // The long side is truncated, not rounded (transformers get_resize_output_image_size).
    int64_t shorter = std::min(height, width), longer = std::max(height, width);
    int64_t scaled = static_cast<int64_t>(static_cast<double>(*shortest_edge) * static_cast<double>(longer) /
                                          static_cast<double>(shorter));
    bool is_tall = height >= width;
    height = is_tall ? scaled : *shortest_edge;
    width = is_tall ? *shortest_edge : scaled;
  } else if (do_resize && size) {
    height = (*size)[0];
    width = (*size)[1];
  }
  if (!crop_size) return resize_pillow(image, height, width, resample, ground, {0, 0, height, width});
  auto [crop_height, crop_width] = *crop_size;
  // Floor division, also for pictures smaller than the crop: they are filled with black around.
  auto start = [&](int64_t have, int64_t want) {
    double half = static_cast<double>(have - want) / 2;
    return static_cast<int64_t>(crop_rounds_to_even ? std::nearbyint(half) : std::floor(half));
  };
  int64_t top = start(height, crop_height), left = start(width, crop_width);
  Window window{std::max<int64_t>(0, top), std::max<int64_t>(0, left), 0, 0};
  window.height = std::min(height, top + crop_height) - window.top;
  window.width = std::min(width, left + crop_width) - window.left;
  Image visible = resize_pillow(image, height, width, resample, ground, window);
  if (visible.height == crop_height && visible.width == crop_width) return visible;
  return crop(visible, top - window.top, left - window.left, crop_height, crop_width);
}

PixelTable ImageProcessor::pixel_table() const {
  PixelTable table;
  for (size_t channel = 0; channel < 3; ++channel) {
    const float mean = static_cast<float>(image_mean[channel]),
                deviation = static_cast<float>(image_std[channel]);
    for (size_t byte = 0; byte < 256; ++byte) {
      // In double precision, as NumPy does: the same bits as the reference's.
      const float value = static_cast<float>(static_cast<double>(byte) * rescale_factor);
      table[channel][byte] = do_normalize ? (value - mean) / deviation : value;
    }
  }
  return table;
}

Tensor ImageProcessor::pixel_values(const Image& image) const {
  constexpr int64_t kGrain_px = 1 << 15;
  const PixelTable table = pixel_table();
  Tensor pixels_3HW = at::empty({3, image.height, image.width});
  float* red = pixels_3HW.data_ptr<float>();
  const int64_t plane = image.height * image.width;
  parallel_for(0, plane, kGrain_px, [&](int64_t begin, int64_t end) {
    const uint8_t* pixel = image.pixels.data() + begin * 3;
    for (int64_t idx = begin; idx < end; ++idx, pixel += 3) {
      red[idx] = table[0][pixel[0]];
      red[plane + idx] = table[1][pixel[1]];
      red[2 * plane + idx] = table[2][pixel[2]];
    }
  });
  return pixels_3HW;
}

}  // namespace vlm
