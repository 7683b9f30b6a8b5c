#include "train/patch_labels.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "train/data/matching.h"

namespace vlm {

namespace {

enum Field {
  hue,
  shape,
  size,
  left_letter,
  right_letter,
  emoji,
  centre,
  place,
  centre_row,
  centre_column,
  extent,
  num_fields
};

constexpr int64_t kExtents = 8;
constexpr int64_t kCells = 8;  // along a side: finer than the nine places that have names

constexpr int64_t kLetters = 10 + 26 + 26;
constexpr int64_t kUnnamedSize = data::num_sizes + 1;
constexpr int kSide = 5;  // points per patch and axis at which the scene is probed

int64_t letter_class(char letter) {
  if (std::isdigit(static_cast<unsigned char>(letter))) return 1 + letter - '0';
  if (std::isupper(static_cast<unsigned char>(letter))) return 11 + letter - 'A';
  if (std::islower(static_cast<unsigned char>(letter))) return 37 + letter - 'a';
  return 0;
}

bool is_inside(const std::vector<Point>& corners, double x, double y) {
  bool inside = false;
  for (size_t at = 0, before = corners.size() - 1; at < corners.size(); before = at++) {
    const Point &a = corners[at], &b = corners[before];
    if ((a.y > y) != (b.y > y) && x < (b.x - a.x) * (y - a.y) / (b.y - a.y) + a.x) inside = !inside;
  }
  return inside;
}

class Labeller {
 public:
  Labeller(const data::Scene& scene, int64_t grid)
      : scene_(scene), grid_(grid), owners_(static_cast<size_t>(grid * grid)) {
    result_.labels = at::zeros({grid * grid, num_fields}, at::kLong);
    result_.objects.resize(scene.objects.size());
    result_.pictures.resize(scene.pictures.size());
  }

  ScenePatches run() {
    mark_objects();
    for (size_t idx = 0; idx < scene_.pictures.size(); ++idx)
      mark_picture(scene_.pictures[idx], result_.pictures[idx]);
    for (const data::Text& text : scene_.texts) mark_text(text);
    for (size_t at = 0; at < owners_.size(); ++at)
      if (owners_[at]) owners_[at]->all.push_back(static_cast<int64_t>(at));
    return std::move(result_);
  }

 private:
  int64_t* labels(int64_t patch) { return result_.labels.data_ptr<int64_t>() + patch * num_fields; }
  int64_t patch_at(double x, double y) const {
    auto cell = [&](double v) {
      return std::clamp(static_cast<int64_t>(v * static_cast<double>(grid_)), int64_t{0}, grid_ - 1);
    };
    return cell(y) * grid_ + cell(x);
  }

  void mark_objects() {
    std::vector<std::vector<Point>> outlines;
    std::vector<const data::Object*> objects;
    for (const data::Object& object : scene_.objects) objects.push_back(&object);
    std::sort(objects.begin(), objects.end(),
              [](auto* a, auto* b) { return a->radius < b->radius; });  // the smaller lies on top
    for (const data::Object* object : objects) outlines.push_back(data::outline_of(*object));
    for (int64_t row = 0; row < grid_; ++row) {
      for (int64_t column = 0; column < grid_; ++column) {
        std::vector<int> hits(objects.size(), 0);
        for (int at = 0; at < kSide * kSide; ++at) {
          double x = (static_cast<double>(column) + (at % kSide + 0.5) / kSide) / static_cast<double>(grid_);
          double y = (static_cast<double>(row) + (at / kSide + 0.5) / kSide) / static_cast<double>(grid_);
          for (size_t idx = 0; idx < objects.size(); ++idx) {
            const data::Object& object = *objects[idx];
            if (is_inside(outlines[idx], (x - object.x) / object.radius, (y - object.y) / object.radius)) {
              ++hits[idx];
              break;
            }
          }
        }
        auto most = std::max_element(hits.begin(), hits.end());
        if (most == hits.end() || *most < kSide) continue;
        mark_object(*objects[static_cast<size_t>(most - hits.begin())], row * grid_ + column);
      }
    }
    std::reverse(objects.begin(), objects.end());
    for (const data::Object* object : objects) {
      int64_t middle = patch_at(object->x, object->y);
      mark_object(*object, middle).centre = middle;
      labels(middle)[centre] = 1;
    }
  }

  PatchesOfThing& mark_object(const data::Object& object, int64_t patch) {
    int64_t* labels = this->labels(patch);
    labels[hue] = 1 + static_cast<int64_t>(object.hue);
    labels[shape] = 1 + static_cast<int64_t>(object.shape);
    labels[extent] = extent_class(object.radius);
    labels[size] = object.size ? 1 + static_cast<int64_t>(*object.size) : kUnnamedSize;
    mark_place(object.x, object.y, labels);
    return *(owners_[static_cast<size_t>(patch)] =
                 &result_.objects[static_cast<size_t>(&object - scene_.objects.data())]);
  }

  // Finer than the sizes that have names, so that two things can be compared.
  static int64_t extent_class(double radius) {
    constexpr double kSmallest = 0.07, kPerStep = 1.25;
    auto steps = static_cast<int64_t>(std::log(std::max(radius, kSmallest) / kSmallest) / std::log(kPerStep));
    return 1 + std::min(steps, kExtents - 1);
  }

  static void mark_place(double x, double y, int64_t* labels) {
    std::optional<data::Place> named = data::place_of(x, y);
    labels[place] = named ? 1 + static_cast<int64_t>(*named) : 0;
    labels[centre_row] = 1 + std::clamp(static_cast<int64_t>(y * kCells), int64_t{0}, kCells - 1);
    labels[centre_column] = 1 + std::clamp(static_cast<int64_t>(x * kCells), int64_t{0}, kCells - 1);
  }

  void mark_emoji(const data::Picture& picture, int64_t patch, PatchesOfThing& shown) {
    labels(patch)[emoji] = 1 + picture.emoji;
    mark_place(picture.x, picture.y, labels(patch));
    owners_[static_cast<size_t>(patch)] = &shown;
  }

  void mark_picture(const data::Picture& picture, PatchesOfThing& shown) {
    double reach = 0.6 * picture.radius;
    for (int64_t row = 0; row < grid_; ++row) {
      for (int64_t column = 0; column < grid_; ++column) {
        double x = (static_cast<double>(column) + 0.5) / static_cast<double>(grid_) - picture.x;
        double y = (static_cast<double>(row) + 0.5) / static_cast<double>(grid_) - picture.y;
        if (std::max(std::abs(x), std::abs(y)) < reach) mark_emoji(picture, row * grid_ + column, shown);
      }
    }
    shown.centre = patch_at(picture.x, picture.y);
    mark_emoji(picture, shown.centre, shown);
    labels(shown.centre)[centre] = 1;
  }

  void mark_text(const data::Text& text) {
    thread_local Canvas ruler(1, 1, Colour{});
    FontStyle unit = text.font;
    unit.size_px = 100;
    double whole = std::max(1e-6, ruler.measure(text.text, unit).width);
    double before = 0;
    std::vector<int64_t>& patches = result_.letters.emplace_back(text.text.size(), -1);
    for (size_t at = 0; at < text.text.size(); ++at) {
      double behind = ruler.measure(text.text.substr(0, at + 1), unit).width;
      double along = ((before + behind) / 2 / whole - 0.5) * text.width;
      before = behind;
      int64_t letter = letter_class(text.text[at]);
      double x = text.x + along * std::cos(text.rotation), y = text.y + along * std::sin(text.rotation);
      if (letter == 0 || x < 0 || x >= 1 || y < 0 || y >= 1) continue;
      patches[at] = patch_at(x, y);
      int64_t* labels = this->labels(patches[at]);
      double within = x * static_cast<double>(grid_);
      labels[within - std::floor(within) < 0.5 ? left_letter : right_letter] = letter;
      labels[hue] = 1 + static_cast<int64_t>(text.hue);
    }
  }

  const data::Scene& scene_;
  int64_t grid_;
  ScenePatches result_;
  std::vector<PatchesOfThing*> owners_;  // of each patch, what it shows
};

}  // namespace

std::vector<int64_t> patch_fields() {
  return {data::num_hues + 1,
          data::num_shapes + 1,
          kUnnamedSize + 1,
          kLetters + 1,
          kLetters + 1,
          static_cast<int64_t>(data::emoji_table().size()) + 1,
          2,
          data::num_places + 1,
          kCells + 1,
          kCells + 1,
          kExtents + 1};
}

std::vector<std::vector<std::string>> patch_words() {
  std::vector<std::vector<std::string>> words;
  for (int64_t classes : patch_fields()) words.emplace_back(static_cast<size_t>(classes));
  auto name = [&](Field field, int64_t idx, const std::string& word) {
    words[static_cast<size_t>(field)][static_cast<size_t>(idx)] = word;
  };
  for (int64_t idx = 0; idx < data::num_hues; ++idx)
    name(hue, 1 + idx, data::name(static_cast<data::Hue>(idx)));
  for (int64_t idx = 0; idx < data::num_shapes; ++idx)
    name(shape, 1 + idx, data::name(static_cast<data::Shape>(idx)));
  for (int64_t idx = 0; idx < data::num_sizes; ++idx)
    name(size, 1 + idx, data::name(static_cast<data::Size>(idx)));
  for (int64_t idx = 0; idx < data::num_places; ++idx)
    name(place, 1 + idx, data::name(static_cast<data::Place>(idx)));
  for (size_t idx = 0; idx < data::emoji_table().size(); ++idx)
    name(emoji, 1 + static_cast<int64_t>(idx), data::emoji_table()[idx].name);
  for (char letter = '0'; letter <= 'z'; ++letter) {
    if (letter_class(letter) == 0) continue;
    name(left_letter, letter_class(letter), std::string(1, letter));
    name(right_letter, letter_class(letter), std::string(1, letter));
  }
  return words;
}

ScenePatches patches_of(const data::Scene& scene, int64_t grid) {
  return Labeller(scene, grid).run();
}

Tensor patch_labels(const data::Scene& scene, int64_t grid) {
  return patches_of(scene, grid).labels;
}

Tensor patch_loss(const Tensor& logits, const Tensor& labels) {
  // Letters have the most classes and the smallest marks: without more weight they stay behind.
  constexpr double kLetterWeight = 3;
  Tensor total;
  double weight = 0;
  int64_t begin = 0, field = 0;
  for (int64_t classes : patch_fields()) {
    Tensor weights = at::ones({classes});
    weights[0] = 0.15;
    Tensor loss = at::cross_entropy_loss(logits.narrow(1, begin, classes),
                                         labels.select(1, field).contiguous(), weights);
    double share = field == left_letter || field == right_letter ? kLetterWeight : 1;
    total = total.defined() ? total + loss * share : loss * share;
    weight += share;
    begin += classes, ++field;
  }
  return total / weight;
}

std::vector<double> patch_accuracy(const Tensor& logits, const Tensor& labels) {
  at::NoGradGuard no_grad;
  std::vector<double> accuracy;
  int64_t begin = 0, field = 0;
  for (int64_t classes : patch_fields()) {
    Tensor wanted = labels.select(1, field);
    Tensor shown = wanted > 0;
    int64_t count = shown.sum().item<int64_t>();
    Tensor right = (logits.narrow(1, begin, classes).argmax(1) == wanted).logical_and(shown);
    accuracy.push_back(count ? static_cast<double>(right.sum().item<int64_t>()) / static_cast<double>(count)
                             : -1.0);
    begin += classes, ++field;
  }
  return accuracy;
}

}  // namespace vlm
