#include "train/data/scene.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "train/data/effects.h"

namespace vlm::data {
namespace {

TEST(Scene, SameSeedSamePicture) {
  for (uint64_t seed : {3, 14, 15}) {
    Image first = draw(sample_scene(seed), 112, 112), second = draw(sample_scene(seed), 112, 112);
    EXPECT_EQ(first.pixels, second.pixels);
  }
  EXPECT_NE(draw(sample_scene(1), 64, 64).pixels, draw(sample_scene(2), 64, 64).pixels);
}

TEST(Scene, EverythingLiesInside) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Scene scene = sample_scene(seed);
    for (const Object& object : scene.objects) {
      for (double centre : {object.x, object.y}) {
        EXPECT_GE(centre - object.radius, 0) << "seed " << seed;
        EXPECT_LE(centre + object.radius, 1) << "seed " << seed;
      }
      for (const Point& point : outline_of(object)) EXPECT_LE(std::hypot(point.x, point.y), 1 + 1e-9);
    }
    for (const Text& text : scene.texts) {
      double half_width = text.width / 2 * std::cos(text.rotation), half_height = text.height / 2;
      EXPECT_GE(text.x - half_width, 0) << text.text;
      EXPECT_LE(text.x + half_width, 1) << text.text;
      EXPECT_GE(text.y - half_height, 0) << text.text;
      EXPECT_LE(text.y + half_height, 1) << text.text;
    }
  }
}

TEST(Scene, ObjectsHardlyOverlap) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Scene scene = sample_scene(seed);
    for (size_t i = 0; i < scene.objects.size(); ++i) {
      for (size_t other = 0; other < i; ++other) {
        const Object &a = scene.objects[i], &b = scene.objects[other];
        EXPECT_GT(std::hypot(a.x - b.x, a.y - b.y), 0.77 * (a.radius + b.radius)) << "seed " << seed;
      }
    }
  }
}

TEST(Scene, OptionsHold) {
  SceneOptions options;
  options.max_objects = 3;
  options.text_share = 0;
  options.emoji_share = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Scene scene = sample_scene(seed, options);
    EXPECT_GE(scene.objects.size(), 1U);
    EXPECT_LE(scene.objects.size(), 3U);
    EXPECT_TRUE(scene.texts.empty());
    EXPECT_TRUE(scene.pictures.empty());
  }
}

TEST(Scene, TextIsLargeEnoughToRead) {
  SceneOptions options;
  options.text_share = 1;
  options.emoji_share = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    for (const Text& text : sample_scene(seed, options).texts)
      EXPECT_GE(text.height * 112, 11.0) << text.text;
  }
}

// A flat object is seen in its own colour at its centre, where the shape has one.
TEST(Draw, ColoursAreThoseOfTheScene) {
  Scene scene;
  scene.background.first = {1, 1, 1, 1};
  for (Shape shape :
       {Shape::circle, Shape::square, Shape::triangle, Shape::rectangle, Shape::oval, Shape::star,
        Shape::diamond, Shape::pentagon, Shape::hexagon, Shape::heart, Shape::cross, Shape::arrow}) {
    Object object;
    object.shape = shape;
    object.x = object.y = 0.5;
    object.radius = 0.3;
    object.stretch = 0.8;
    object.detail = 0.3;
    if (shape == Shape::triangle) object.detail = 0;
    object.colour = {1, 0, 0, 1};
    scene.objects = {object};
    Image image = draw(scene, 100, 100);
    const uint8_t* pixel = image.row(50) + 50 * 3;
    EXPECT_EQ(pixel[0], 255) << name(shape);
    EXPECT_EQ(pixel[1], 0) << name(shape);
    EXPECT_EQ(image.row(1)[3], 255);
    // Area by pixels against area by geometry.
    int64_t red = 0;
    for (size_t i = 1; i < image.pixels.size(); i += 3) red += image.pixels[i] < 128;
    EXPECT_NEAR(static_cast<double>(red) / 10000, area_of(object), 0.006) << name(shape);
  }
}

TEST(Draw, RingsAndCrescentsAreOpen) {
  for (Shape shape : {Shape::ring, Shape::crescent}) {
    Scene scene;
    scene.background.first = {1, 1, 1, 1};
    Object object;
    object.shape = shape;
    object.x = object.y = 0.5;
    object.radius = 0.3;
    object.detail = shape == Shape::ring ? 0.3 : 0.5;
    object.colour = {0, 0, 1, 1};
    scene.objects = {object};
    Image image = draw(scene, 100, 100);
    EXPECT_EQ(image.row(50)[50 * 3], 255) << name(shape);                           // the middle
    EXPECT_LT(image.row(50)[static_cast<size_t>(50 - 27) * 3], 40) << name(shape);  // the left edge
  }
}

TEST(Colours, NamesAreKeptApart) {
  Rng rng(1);
  auto hue_degrees = [](const Colour& c) {
    double most = std::max({c.r, c.g, c.b}), least = std::min({c.r, c.g, c.b}), span = most - least;
    double sector = most == c.r   ? (c.g - c.b) / span
                    : most == c.g ? 2 + (c.b - c.r) / span
                                  : 4 + (c.r - c.g) / span;
    return std::fmod(sector * 60 + 360, 360);
  };
  for (int i = 0; i < 200; ++i) {
    for (bool pure : {false, true}) {
      double blue = hue_degrees(sample_colour(Hue::blue, pure, rng));
      EXPECT_GT(blue, 200);
      EXPECT_LT(blue, 245);
      double green = hue_degrees(sample_colour(Hue::green, pure, rng));
      EXPECT_GT(green, 90);
      EXPECT_LT(green, 150);
      Colour white = sample_colour(Hue::white, pure, rng);
      EXPECT_GT(std::min({white.r, white.g, white.b}), 0.9);
    }
  }
}

TEST(Effects, JpegKeepsAFlatPictureAndChangesAnEdge) {
  Image flat = Image::filled(20, 20, {120, 130, 140});
  Image before = flat;
  jpeg_artefacts(flat, 90);
  for (size_t i = 0; i < flat.pixels.size(); ++i) EXPECT_NEAR(flat.pixels[i], before.pixels[i], 3);
  Image edge = Image::filled(16, 16, {255, 255, 255});
  for (int64_t y = 0; y < 16; ++y) std::fill(edge.row(y), edge.row(y) + 5 * 3, uint8_t{0});
  before = edge;
  jpeg_artefacts(edge, 30);
  EXPECT_NE(edge.pixels, before.pixels);
  for (size_t i = 0; i < edge.pixels.size(); ++i) EXPECT_NEAR(edge.pixels[i], before.pixels[i], 70);
}

TEST(Effects, ShrinkTakesMeansOrFirstPixels) {
  Image image = Image::filled(2, 2, {0, 0, 0});
  image.row(0)[0] = 100;
  image.row(1)[3] = 200;
  EXPECT_EQ(shrink(image, 2, false).pixels, (Pixels{75, 0, 0}));
  EXPECT_EQ(shrink(image, 2, true).pixels, (Pixels{100, 0, 0}));
}

TEST(Vocabulary, SplitsShareNoWords) {
  Rng rng(5);
  for (int i = 0; i < 3000; ++i) {
    std::string train = sample_text(Split::train, rng), test = sample_text(Split::test, rng);
    auto check = [](const std::string& text, Split split) {
      size_t space = text.find(' ');
      if (space != std::string::npos) {
        EXPECT_EQ(split_of_text(text.substr(0, space)), split) << text;
        EXPECT_EQ(split_of_text(text.substr(space + 1)), split) << text;
      } else if (text.size() > 1) {
        EXPECT_EQ(split_of_text(text), split) << text;
      }
    };
    check(train, Split::train);
    check(test, Split::test);
  }
}

}  // namespace
}  // namespace vlm::data
