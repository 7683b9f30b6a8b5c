// What answers point at, through both APIs.
#include <gtest/gtest.h>
#include <vlm/capi.h>
#include <vlm/vlm.h>

#include <string>

namespace {

std::string in_case(const std::string& path) {
  return VLM_SOURCE_DIR "/tests/cases/" + path;
}

vlm::Answer ask(const std::string& name, const std::string& prompt, const vlm::AskOptions& options) {
  vlm::Model model = vlm::Model::load(in_case(name + "/checkpoint"));
  return model.generate(prompt, {vlm::Image::from_file(in_case(name + "/media/a.png"))}, options);
}

vlm::AskOptions for_task(const std::string& task) {
  vlm::AskOptions options;
  options.task = task;
  options.max_new_tokens = 40;
  return options;
}

TEST(Regions, BoxesInPixels) {
  vlm::Answer answer = ask("florence-2-od-a", "", for_task("<OD>"));
  EXPECT_EQ(answer.plain_text, "dog, model, model");
  ASSERT_EQ(answer.regions.size(), 3u);
  const vlm::Region& dog = answer.regions[0];
  EXPECT_EQ(dog.label, "dog");
  ASSERT_TRUE(dog.box.has_value());  // bins 54, 373, 905, 776 of a picture of 140 x 90
  EXPECT_NEAR((*dog.box)[0], 54.5 * 0.14, 1e-9);
  EXPECT_NEAR((*dog.box)[1], 373.5 * 0.09, 1e-9);
  EXPECT_NEAR((*dog.box)[2], 905.5 * 0.14, 1e-9);
  EXPECT_NEAR((*dog.box)[3], 776.5 * 0.09, 1e-9);
  EXPECT_FALSE(dog.quad || dog.point || dog.score);
}

TEST(Regions, PolygonsOfABox) {
  vlm::AskOptions options = for_task("<REGION_TO_SEGMENTATION>");
  options.regions.boxes = {{12.5, 8.0, 90.25, 70.9}};
  vlm::Answer answer = ask("florence-2-region-a", "", options);
  ASSERT_EQ(answer.regions.size(), 1u);
  ASSERT_EQ(answer.regions[0].polygons.size(), 1u);
  EXPECT_EQ(answer.regions[0].polygons[0].size(), 4u);
}

TEST(Regions, MasksOfThePicturesSize) {
  vlm::AskOptions options;
  options.max_new_tokens = 60;
  vlm::Answer answer = ask("paligemma-mask-a", "segment cat ; dog", options);
  ASSERT_EQ(answer.regions.size(), 2u);
  EXPECT_EQ(answer.regions[1].label, "dog");
  EXPECT_EQ(answer.regions[1].mask.size(), 150u * 97u);
}

TEST(Regions, SpansOfWords) {
  vlm::Answer answer = ask("kosmos-2-a", "<grounding> An image of", for_task(""));
  EXPECT_EQ(answer.plain_text, "An image of a dog and two models");
  ASSERT_EQ(answer.regions.size(), 3u);
  ASSERT_TRUE(answer.regions[0].span.has_value());
  auto [first, behind] = *answer.regions[0].span;
  EXPECT_EQ(answer.plain_text.substr(first, behind - first), "a dog");
}

TEST(Regions, WhatAQuestionCannotHold) {
  auto expect_refusal = [](const std::string& part, const vlm::AskOptions& options) {
    try {
      ask("florence-2-od-a", "", options);
      ADD_FAILURE() << "nothing was thrown; expected: " << part;
    } catch (const vlm::Error& error) {
      EXPECT_EQ(error.kind(), vlm::ErrorKind::bad_request);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  expect_refusal("no task of this model is called \"<SING>\"", for_task("<SING>"));
  vlm::AskOptions boxed = for_task("<OD>");
  boxed.regions.boxes = {{1, 2, 3, 4}};
  expect_refusal("<OD> takes no box", boxed);
  expect_refusal("<REGION_TO_OCR> asks about something that was not given", for_task("<REGION_TO_OCR>"));
  vlm::AskOptions pointed = for_task("<OD>");
  pointed.regions.points = {{1, 2}};
  pointed.regions.point_is_outside = {true, false};
  expect_refusal("1 points, but 2 values", pointed);
}

TEST(Regions, InC) {
  vlm_model* model = nullptr;
  vlm_image* image = nullptr;
  ASSERT_EQ(vlm_model_load(in_case("florence-2-open-a/checkpoint").c_str(), nullptr, &model), VLM_OK);
  ASSERT_EQ(vlm_image_from_file(in_case("florence-2-open-a/media/a.png").c_str(), &image), VLM_OK);
  vlm_ask_options options = VLM_ASK_OPTIONS_INIT;
  options.task = "<OPEN_VOCABULARY_DETECTION>";
  vlm_findings* findings = nullptr;
  vlm_answer_info info = VLM_ANSWER_INFO_INIT;
  info.findings = &findings;
  const vlm_image* images[] = {image};
  ASSERT_EQ(vlm_generate(model, "dog", images, 1, &options, nullptr, nullptr, nullptr, &info), VLM_OK)
      << vlm_last_error();
  ASSERT_NE(findings, nullptr);
  EXPECT_STREQ(findings->plain_text, "dog, dog");
  ASSERT_EQ(findings->num_regions, 2u);
  const vlm_region& first = *findings->regions[0];
  EXPECT_STREQ(first.label, "dog");
  EXPECT_EQ(first.has_box, 0);
  ASSERT_EQ(first.num_polygons, 2u);
  EXPECT_EQ(first.num_corners[0], 3u);
  EXPECT_NEAR(first.corners[0], 10.5 * 0.12, 1e-9);  // of a picture 120 wide
  EXPECT_EQ(findings->num_calls, 0u);
  vlm_free(findings);

  double box[] = {1, 2, 30, 40};
  options.boxes = box, options.num_boxes = 1;
  EXPECT_EQ(vlm_generate(model, "dog", images, 1, &options, nullptr, nullptr, nullptr, nullptr),
            VLM_BAD_REQUEST);
  EXPECT_NE(std::string(vlm_last_error()).find("takes no box"), std::string::npos) << vlm_last_error();
  options.boxes = nullptr;
  EXPECT_EQ(vlm_generate(model, "dog", images, 1, &options, nullptr, nullptr, nullptr, nullptr),
            VLM_BAD_REQUEST);
  EXPECT_NE(std::string(vlm_last_error()).find("options.boxes is NULL"), std::string::npos);
  vlm_image_release(image);
  vlm_model_release(model);
}

}  // namespace
