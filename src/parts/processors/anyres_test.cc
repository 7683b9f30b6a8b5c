#include "parts/processors/anyres.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace vlm {
namespace {

constexpr char kPinpoints[] = "[[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]";

std::vector<Resolution> resolutions(AnyresStyle style) {
  return read_resolutions(Json::parse(kPinpoints, "config.json"), 336, style);
}

TEST(Anyres, ReadsEveryWayOfWriting) {
  EXPECT_EQ(resolutions(AnyresStyle::transformers).front(), (Resolution{336, 672}));
  EXPECT_EQ(resolutions(AnyresStyle::authors).front(), (Resolution{672, 336}));
  Json text = Json::parse("\"[(384, 768), (1152, 384)]\"", "config.json");
  EXPECT_EQ(read_resolutions(text, 384, AnyresStyle::transformers),
            (std::vector<Resolution>{{384, 768}, {1152, 384}}));
  Json range = Json::parse("\"(1x1),...,(2x3)\"", "config.json");
  EXPECT_EQ(read_resolutions(range, 10, AnyresStyle::transformers),
            (std::vector<Resolution>{{10, 10}, {10, 20}, {10, 30}, {20, 10}, {20, 20}, {20, 30}}));
}

TEST(Anyres, RefusesAbsurdLists) {
  for (const char* text : {"[]", "[[336]]", "[[336, 337]]", "[[0, 336]]", "[[336, 33600000]]", "\"three\"",
                           "\"(1x1),...,(99999x99999)\"", "\"(1x99999999999999999999)\""}) {
    SCOPED_TRACE(text);
    EXPECT_THROW(read_resolutions(Json::parse(text, "config.json"), 336, AnyresStyle::authors), Error);
  }
}

TEST(Anyres, KeepsTheMostOfThePicture) {
  std::vector<Resolution> all = resolutions(AnyresStyle::transformers);
  EXPECT_EQ(best_resolution({480, 640}, all), (Resolution{672, 672}));
  EXPECT_EQ(best_resolution({300, 900}, all), (Resolution{336, 1008}));
  EXPECT_EQ(best_resolution({900, 200}, all), (Resolution{1008, 336}));
  EXPECT_EQ(best_resolution({100, 150}, all), (Resolution{336, 672}));  // all keep all of it: the smallest
  EXPECT_EQ(best_resolution({1, 60000}, all), (Resolution{336, 672}));  // nothing is kept by any
}

TEST(Anyres, FitsOnBlackWithTheOddPixelBehind) {
  Image white = Image::filled(10, 20, {255, 255, 255});
  Image fitted = fit_on_black(white, {45, 60}, Filter::bicubic);  // scaled to 30 x 60: 7 above, 8 below
  ASSERT_EQ(fitted.height, 45);
  ASSERT_EQ(fitted.width, 60);
  EXPECT_EQ(fitted.row(6)[0], 0);
  EXPECT_EQ(fitted.row(7)[0], 255);
  EXPECT_EQ(fitted.row(36)[59 * 3], 255);
  EXPECT_EQ(fitted.row(37)[59 * 3], 0);
}

TEST(Anyres, CutsRowByRow) {
  Image image = Image::filled(4, 6, {0, 0, 0});
  image.row(1)[5 * 3] = 9;
  image.row(3)[0] = 7;
  std::vector<Image> tiles = cut_tiles(image, 2);
  ASSERT_EQ(tiles.size(), 6u);
  EXPECT_EQ(tiles[2].row(1)[3], 9);
  EXPECT_EQ(tiles[3].row(1)[0], 7);
}

// 861 x 328 in a grid of 72 x 24: 62.99999999999999 rows of features are the picture's.
TEST(Anyres, RoundsWhereTheAuthorsTruncate) {
  GridPart rounded = without_padding({861, 328}, 72, 24, AnyresStyle::transformers);
  EXPECT_EQ(rounded.top, 4);
  EXPECT_EQ(rounded.rows, 64);
  EXPECT_EQ(rounded.columns, 24);
  GridPart truncated = without_padding({861, 328}, 72, 24, AnyresStyle::authors);
  EXPECT_EQ(truncated.top, 5);
  EXPECT_EQ(truncated.rows, 62);
  GridPart tall = without_padding({900, 200}, 72, 24, AnyresStyle::transformers);
  EXPECT_EQ(tall.left, 4);
  EXPECT_EQ(tall.columns, 16);
  EXPECT_EQ(tall.rows, 72);
}

}  // namespace
}  // namespace vlm
