#include "models/llava/function_call.h"

#include <gtest/gtest.h>

namespace vlm::llava {
namespace {

constexpr char kQuestion[] =
    "<fn_call>{\"type\": \"object\", \"title\": \"buses\", \"properties\": {\"colours\": {\"type\": "
    "\"array\"}}}";

TEST(FunctionCall, AnObjectIsACall) {
  ParsedAnswer answer = read_function_call(kQuestion, " {\"colours\": [\"red\", \"bl}ue\"]} ");
  ASSERT_EQ(answer.calls.size(), 1u);
  EXPECT_EQ(answer.calls[0].name, "buses");
  EXPECT_EQ(answer.calls[0].arguments, "{\"colours\":[\"red\",\"bl}ue\"]}");
  EXPECT_EQ(answer.text, "");
}

TEST(FunctionCall, TextAroundItIsKept) {
  ParsedAnswer answer = read_function_call(kQuestion, "Here {it} is: {\"colours\": []}\nDone.");
  ASSERT_EQ(answer.calls.size(), 1u);
  EXPECT_EQ(answer.calls[0].arguments, "{\"colours\":[]}");
  EXPECT_EQ(answer.text, "Here {it} is:\nDone.");
}

TEST(FunctionCall, WithoutTheMarkJsonIsText) {
  ParsedAnswer answer = read_function_call("What is this?", "{\"a\": 1}");
  EXPECT_TRUE(answer.calls.empty());
  EXPECT_EQ(answer.text, "{\"a\": 1}");
}

TEST(FunctionCall, AnUnfinishedObjectIsText) {
  for (std::string text : {std::string("{\"colours\": [\"red\""), std::string("no object"), std::string(),
                           std::string(100000, '{')}) {
    ParsedAnswer answer = read_function_call(kQuestion, text);
    EXPECT_TRUE(answer.calls.empty());
    EXPECT_EQ(answer.text, text);
  }
}

TEST(FunctionCall, TheLastQuestionCounts) {
  Request request;
  request.messages = {ChatMessage::text("user", "first"), ChatMessage::text("assistant", "answer"),
                      ChatMessage::text("user", kQuestion)};
  EXPECT_EQ(last_question(request), kQuestion);
  Request raw;
  raw.prompt = "raw";
  EXPECT_EQ(last_question(raw), "raw");
}

}  // namespace
}  // namespace vlm::llava
