#include "app/cli/commands/regions.h"

#include <charconv>
#include <cmath>

#include "app/cli/commands/pictures.h"
#include "base/error.h"

namespace vlm::cli {

namespace {

std::vector<double> numbers_of(const std::string& text, const char* option) {
  std::vector<double> numbers;
  const char *at = text.data(), *end = text.data() + text.size();
  while (at <= end) {
    double value = 0;
    auto [stop, error] = std::from_chars(at, end, value);
    if (error != std::errc() || !std::isfinite(value) || (stop != end && *stop != ',')) break;
    numbers.push_back(value);
    if (stop == end) return numbers;
    at = stop + 1;
  }
  fail(ErrorKind::bad_request, "give numbers separated by commas, in pixels of the picture",
       "{} \"{}\" is not a place", option, text);
}

std::array<double, 4> box_of(const std::string& text) {
  std::vector<double> numbers = numbers_of(text, "--box");
  if (numbers.size() != 4 || numbers[2] <= numbers[0] || numbers[3] <= numbers[1])
    fail(ErrorKind::bad_request, "give left, top, right and bottom: --box 10,20,200,180",
         "--box \"{}\" is not a box", text);
  return {numbers[0], numbers[1], numbers[2], numbers[3]};
}

// Lengths of runs of outside, inside, outside, ... down the columns.
nlohmann::ordered_json run_lengths(const std::vector<uint8_t>& mask, int64_t height, int64_t width) {
  std::vector<int64_t> counts{0};
  bool is_inside = false;
  for (int64_t x = 0; x < width; ++x)
    for (int64_t y = 0; y < height; ++y) {
      if ((mask[static_cast<size_t>(y * width + x)] != 0) != is_inside) {
        is_inside = !is_inside;
        counts.push_back(0);
      }
      ++counts.back();
    }
  return {{"size", {height, width}}, {"counts", counts}};
}

// Thousandths of a pixel are enough.
double rounded(double value) {
  return std::round(value * 1000) / 1000;
}

template <typename Values>
nlohmann::ordered_json numbers_json(const Values& values) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (double value : values) list.push_back(rounded(value));
  return list;
}

nlohmann::ordered_json corners_json(const std::vector<Point>& corners) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Point& corner : corners) list.push_back({rounded(corner.x), rounded(corner.y)});
  return list;
}

int64_t num_inside(const std::vector<uint8_t>& mask) {
  return std::count_if(mask.begin(), mask.end(), [](uint8_t value) { return value != 0; });
}

std::vector<Point> corners_of(const std::array<double, 8>& quad) {
  std::vector<Point> corners;
  for (size_t idx = 0; idx < quad.size(); idx += 2) corners.push_back({quad[idx], quad[idx + 1]});
  return corners;
}

}  // namespace

RegionPrompt read_regions(const std::vector<std::string>& boxes, const std::vector<std::string>& points,
                          const std::vector<std::string>& masks, const std::vector<Image>& images) {
  RegionPrompt regions;
  for (const std::string& box : boxes) regions.boxes_xyxy.push_back(box_of(box));
  for (const std::string& point : points) {
    std::vector<double> numbers = numbers_of(point, "--point");
    bool has_label = numbers.size() == 3 && (numbers[2] == 0 || numbers[2] == 1);
    if (numbers.size() != 2 && !has_label)
      fail(ErrorKind::bad_request, "give a place, and 0 behind it where it lies outside: --point 120,80,0",
           "--point \"{}\" is not a point", point);
    regions.points.push_back({numbers[0], numbers[1]});
    regions.point_labels.push_back(has_label && numbers[2] == 0 ? 0 : 1);
  }
  for (const std::string& mask : masks) {
    regions.masks.push_back(read_picture(mask));
    const Image& read = regions.masks.back();
    if (!images.empty() && (read.height != images[0].height || read.width != images[0].width))
      fail(ErrorKind::bad_request, "draw the mask over the picture itself",
           "{}: the mask has {} x {} pixels, the picture {} x {}", mask, read.width, read.height,
           images[0].width, images[0].height);
  }
  bool are_there = !boxes.empty() || !points.empty() || !masks.empty();
  if (are_there && images.empty())
    fail(ErrorKind::bad_request, "give --image", "--box, --point and --mask need a picture to lie in");
  return regions;
}

nlohmann::ordered_json regions_json(const std::vector<Region>& regions, const std::vector<Image>& images) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Region& region : regions) {
    nlohmann::ordered_json entry{{"label", region.label}, {"image", region.image}};
    if (region.score) entry["score"] = *region.score;
    if (region.box_xyxy) entry["box"] = numbers_json(*region.box_xyxy);
    if (region.point) entry["point"] = {rounded(region.point->x), rounded(region.point->y)};
    if (region.quad) entry["quad"] = numbers_json(*region.quad);
    for (const std::vector<Point>& part : region.polygons) entry["polygons"].push_back(corners_json(part));
    if (!region.mask.empty()) {
      const Image& image = images.at(static_cast<size_t>(region.image));
      entry["mask"] = run_lengths(region.mask, image.height, image.width);
    }
    if (region.text_span) entry["span"] = *region.text_span;
    list.push_back(std::move(entry));
  }
  return list;
}

nlohmann::ordered_json calls_json(const std::vector<FunctionCall>& calls) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const FunctionCall& call : calls) list.push_back({{"name", call.name}, {"arguments", call.arguments}});
  return list;
}

std::string regions_text(const std::vector<Region>& regions) {
  std::string text;
  for (const Region& region : regions) {
    std::vector<std::string> parts;
    if (!region.label.empty()) parts.push_back(region.label);
    if (region.score) parts.push_back(fmt::format("{:.2f}", *region.score));
    auto numbers = [&](const char* kind, const auto& values) {
      std::string part = kind;
      for (double value : values) part += fmt::format(" {:.0f}", value);
      parts.push_back(part);
    };
    if (region.box_xyxy) numbers("box", *region.box_xyxy);
    if (region.point) numbers("point", std::array<double, 2>{region.point->x, region.point->y});
    if (region.quad) numbers("corners", *region.quad);
    if (!region.polygons.empty())
      parts.push_back(
          fmt::format("polygon of {} corners", region.polygons.front().size()) +
          (region.polygons.size() > 1 ? fmt::format(" and {} more", region.polygons.size() - 1) : ""));
    if (!region.mask.empty()) parts.push_back(fmt::format("mask of {} pixels", num_inside(region.mask)));
    for (size_t idx = 0; idx < parts.size(); ++idx) text += (idx > 0 ? "  " : "") + parts[idx];
    text += "\n";
  }
  return text;
}

std::string calls_text(const std::vector<FunctionCall>& calls) {
  std::string text;
  for (const FunctionCall& call : calls) text += call.name + " " + call.arguments + "\n";
  return text;
}

Image draw_regions(const Image& image, const std::vector<Region>& regions, int64_t image_idx) {
  std::vector<Annotation> annotations;
  for (const Region& region : regions) {
    if (region.image != image_idx) continue;
    std::string label = region.label;
    if (region.score) label += fmt::format(" {:.0f}%", 100 * *region.score);
    std::vector<std::vector<Point>> outlines = region.polygons;
    if (region.quad) outlines.push_back(corners_of(*region.quad));
    if (region.point) outlines.push_back({*region.point});
    if (region.box_xyxy || !region.mask.empty()) {
      annotations.push_back(
          {region.box_xyxy.value_or(std::array<double, 4>{}), {}, region.mask, std::move(label)});
      label.clear();
    }
    for (std::vector<Point>& outline : outlines) {
      annotations.push_back({{}, std::move(outline), {}, std::move(label)});
      label.clear();
    }
  }
  return annotate(image, annotations);
}

}  // namespace vlm::cli
