#include "base/json.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace vlm {
namespace {

TEST(Json, RemembersWhatWasRead) {
  Json config = Json::parse(R"({"a": 1, "b": {"c": [1, 2], "d": null}, "e": "x"})", "config.json");
  EXPECT_EQ(config.at("a").as<int64_t>(), 1);
  EXPECT_EQ(config.at("b").at("c").as<std::vector<int64_t>>(), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(config.unread(), (std::vector<std::string>{"b.d", "e"}));
  config.ignore({"e"});
  config.at("b").ignore_all();
  EXPECT_TRUE(config.unread().empty());
}

TEST(Json, SaysWhatIsWrongAndWhere) {
  Json config = Json::parse(R"({"hidden_size": "big", "layers": 9})", "config.json");
  try {
    config.at("hidden_size").as<int64_t>();
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.message().c_str(),
                 "config.json: hidden_size: expected an integer, found string \"big\"");
  }
  try {
    config.at("layer");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.hint(), "the nearest key is layers");
  }
  EXPECT_THROW(config.integer("layers", 1, 8), Error);
  EXPECT_EQ(config.integer("absent", 1, 8, 3), 3);
}

TEST(Json, RefusesDamagedAndDeepDocuments) {
  EXPECT_THROW(Json::parse("{\"a\": ", "x"), Error);
  EXPECT_THROW(Json::parse(std::string(100000, '['), "x"), Error);
}

}  // namespace
}  // namespace vlm
