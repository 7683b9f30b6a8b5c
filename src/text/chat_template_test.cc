#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/files.h"

namespace vlm {
namespace {

using nlohmann::ordered_json;

const std::filesystem::path kCases = std::filesystem::path(VLM_SOURCE_DIR) / "tests/cases";

ordered_json read_json(const std::filesystem::path& path) {
  return ordered_json::parse(read_text(path));
}

std::string render(const std::string& source, const ordered_json& context = ordered_json::object()) {
  return ChatTemplate::compile(source)->render(context);
}

// The message of the error that `source` ends in.
std::string failure(const std::string& source, ErrorKind kind,
                    const ordered_json& context = ordered_json::object()) {
  try {
    std::string text = render(source, context);
    return "no error: " + text;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_FALSE(error.hint().empty());
    return error.message();
  }
}

class ReferenceTemplates : public testing::TestWithParam<const char*> {};

TEST_P(ReferenceTemplates, RenderAsInTransformers) {
  ordered_json document = read_json(kCases / "templates" / (std::string(GetParam()) + ".json"));
  std::tm now{};
  std::istringstream(document["now"].get<std::string>()) >> std::get_time(&now, "%Y-%m-%dT%H:%M:%S");
  std::mktime(&now);  // fills in the day of the week and of the year
  int64_t count = 0;
  for (const ordered_json& entry : document["cases"]) {
    SCOPED_TRACE(entry["name"].get<std::string>() + ": " + entry["template"].get<std::string>());
    const ordered_json& context = entry.contains("context") ? entry["context"] : document["context"];
    ++count;
    try {
      auto compiled =
          ChatTemplate::compile(entry["template"].get<std::string>(), "case", [&] { return now; });
      std::string text = compiled->render(context);
      if (entry.contains("error"))
        ADD_FAILURE() << "rendered what the reference refuses: " << text;
      else
        EXPECT_EQ(text, entry["expected"].get<std::string>());
    } catch (const Error& error) {
      if (!entry.contains("error")) ADD_FAILURE() << error.what();
      EXPECT_NE(error.message().find("case:"), std::string::npos) << error.message();
    }
  }
  EXPECT_GT(count, 10);
}

INSTANTIATE_TEST_SUITE_P(Groups, ReferenceTemplates,
                         testing::Values("chats", "expressions", "methods", "filters", "statements",
                                         "whitespace"),
                         [](const auto& info) { return std::string(info.param); });

// --- the templates of the reference checkpoints

TEST(ChatTemplate, RendersThePromptsOfTheReferenceCases) {
  int64_t num_loaded = 0;
  for (const auto& folder : std::filesystem::directory_iterator(kCases)) {
    std::filesystem::path description = folder.path() / "case.json";
    if (!std::filesystem::exists(description)) continue;
    SCOPED_TRACE(folder.path().filename().string());
    std::shared_ptr<const ChatTemplate> compiled;
    ASSERT_NO_THROW(compiled = load_chat_template(folder.path() / "checkpoint"));
    ordered_json inputs = read_json(description);
    if (compiled == nullptr) continue;
    ++num_loaded;
    if (!inputs.contains("rendered_prompt") || !inputs["inputs"].contains("messages")) continue;
    ordered_json context = {{"messages", inputs["inputs"]["messages"]}, {"add_generation_prompt", true}};
    EXPECT_EQ(compiled->render(context), inputs["rendered_prompt"].get<std::string>());
  }
  if (num_loaded == 0) GTEST_SKIP() << "no reference case with a chat template in " << kCases;
}

// --- errors

TEST(ChatTemplate, SaysWhereSyntaxIsWrong) {
  auto bad = ErrorKind::bad_checkpoint;
  EXPECT_EQ(failure("{% if x %}a", bad),
            "chat_template:1:4: {% if %} is not closed by {% elif %} or {% else %} or {% endif %}");
  EXPECT_EQ(failure("a\n  {% fro x in y %}", bad),
            "chat_template:2:6: there is no tag 'fro'; the nearest is 'for'");
  EXPECT_EQ(failure("{% for x in y %}{% endif %}", bad),
            "chat_template:1:20: {% endif %} has no block to belong to; expected {% endfor %} or {% else %}");
  EXPECT_EQ(failure("{{ a b }}", bad), "chat_template:1:6: expected }}, found 'b'");
  EXPECT_EQ(failure("{{ a|uper }}", bad),
            "chat_template:1:6: there is no filter 'uper'; the nearest is 'upper'");
  EXPECT_EQ(failure("{{ a is strng }}", bad),
            "chat_template:1:9: there is no test 'strng'; the nearest is 'string'");
  EXPECT_EQ(failure("{{ (a] }}", bad), "chat_template:1:6: unexpected ']', expected ')'");
  EXPECT_EQ(failure("\n\n{# a", bad), "chat_template:3:1: the comment {# is not closed by #}");
  EXPECT_EQ(failure("{% break %}", bad), "chat_template:1:4: {% break %} outside of a loop");
  EXPECT_EQ(failure("{{ 'a }}", bad), "chat_template:1:4: the string is not closed");
}

TEST(ChatTemplate, SaysWhereRenderingFails) {
  auto bad = ErrorKind::bad_request;
  ordered_json context = {{"messages", {{{"role", "user"}, {"content", nullptr}}}}};
  EXPECT_EQ(failure("a\n{{ messages[0].content + 'x' }}", bad, context),
            "chat_template:2:24: a str can be added to a str only, not NoneType + str; use ~ or the filter "
            "'string'");
  EXPECT_EQ(failure("{{ raise_exception('roles must ' ~ 'alternate') }}", bad),
            "chat_template:1:19: roles must alternate");
  EXPECT_EQ(failure("{{ tools.x }}", bad), "chat_template:1:9: 'tools' is undefined");
  EXPECT_EQ(failure("{{ messages[0].text.strip() }}", bad, context),
            "chat_template:1:20: dict has no attribute 'text'");
  EXPECT_NE(failure("{% set _ = messages.append(1) %}", bad, context).find("make a new one: list + [item]"),
            std::string::npos);
  EXPECT_EQ(failure("{% if true %}{{ 'a'|uper }}{% endif %}", ErrorKind::unsupported),
            "chat_template:1:21: there is no filter 'uper'; the nearest is 'upper'");
}

TEST(ChatTemplate, StopsWhatRunsAway) {
  auto bad = ErrorKind::bad_checkpoint;
  EXPECT_NE(failure("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", bad)
                .find("too many steps"),
            std::string::npos);
  EXPECT_NE(failure("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", bad).find("recurses deeper than 1000"),
            std::string::npos);
  EXPECT_NE(failure("{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(90) %}"
                    "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
                    bad)
                .find("bytes of text"),
            std::string::npos);
  EXPECT_NE(failure("{{ 'ab' * 99999999999 }}", bad).find("bytes of text"), std::string::npos);
  EXPECT_NE(failure("{{ [1] * 99999999999 }}", bad).find("too many steps"), std::string::npos);
  EXPECT_NE(failure("{{ range(99999999) }}", bad).find("more than 100000"), std::string::npos);
  EXPECT_NE(
      failure("{% set ns = namespace(x=[]) %}{% for i in range(900) %}{% set ns.x = [ns.x] %}{% endfor %}",
              ErrorKind::bad_request)
          .find("nested deeper than 200"),
      std::string::npos);
  // 2^40 leaves, each list only two long
  EXPECT_NE(failure("{% set ns = namespace(x=[1, 1]) %}{% for i in range(40) %}"
                    "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
                    bad)
                .find("too many steps"),
            std::string::npos);
}

TEST(ChatTemplate, LimitsNesting) {
  auto bad = ErrorKind::bad_checkpoint;
  EXPECT_NE(failure("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}", bad)
                .find("nested deeper"),
            std::string::npos);
  EXPECT_NE(failure("{{ " + std::string(5000, '-') + "1 }}", bad).find("nested deeper"), std::string::npos);
  std::string sum = "1";
  std::string blocks;
  std::string nots;
  for (int count = 0; count < 5000; ++count) {
    sum += " + 1";
    blocks += "{% if 1 %}";
    nots += "not ";
  }
  EXPECT_NE(failure("{{ " + sum + " }}", bad).find("more than 400 levels"), std::string::npos);
  EXPECT_NE(failure("{{ " + nots + "1 }}", bad).find("nested deeper"), std::string::npos);
  EXPECT_NE(failure(blocks, bad).find("blocks nested deeper"), std::string::npos);
  ordered_json deep = 1;
  for (int level = 0; level < 500; ++level) deep = ordered_json::array({deep});
  EXPECT_NE(failure("{{ x }}", ErrorKind::bad_request, {{"x", deep}}).find("nested deeper"),
            std::string::npos);
}

TEST(ChatTemplate, NamespacesMayHoldThemselves) {
  EXPECT_EQ(render("{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.list = [ns] %}{{ ns.me == ns }}"),
            "True");
}

TEST(ChatTemplate, MarksWhatTheAssistantSaid) {
  auto compiled = ChatTemplate::compile(
      "{% for m in messages %}[{{ m.role }}]{% generation %}{{ m.content }}"
      "{% endgeneration %}{% endfor %}");
  auto marked = compiled->render_marked(
      {{"messages", {{{"role", "a"}, {"content", "hello"}}, {{"role", "b"}, {"content", ""}}}}});
  EXPECT_EQ(marked.text, "[a]hello[b]");
  ASSERT_EQ(marked.generated.size(), 2u);
  EXPECT_EQ(marked.generated[0], (std::pair<size_t, size_t>(3, 8)));
  EXPECT_EQ(marked.generated[1], (std::pair<size_t, size_t>(11, 11)));
}

// --- files

class TemplateFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("vlm_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(TemplateFolder, LooksInTheUsualFiles) {
  EXPECT_EQ(load_chat_template(folder_), nullptr);
  write_text(folder_ / "tokenizer_config.json", R"({"chat_template": "from tokenizer {{ x }}"})");
  EXPECT_EQ(load_chat_template(folder_)->render({{"x", 1}}), "from tokenizer 1");
  write_text(
      folder_ / "processor_config.json",
      R"({"chat_template": [{"name": "rag", "template": "no"}, {"name": "default", "template": "named"}]})");
  EXPECT_EQ(load_chat_template(folder_)->render(ordered_json::object()), "named");
  write_text(folder_ / "chat_template.json", R"({"chat_template": "json"})");
  EXPECT_EQ(load_chat_template(folder_)->render(ordered_json::object()), "json");
  write_text(folder_ / "chat_template.jinja", "jinja\n");
  EXPECT_EQ(load_chat_template(folder_)->render(ordered_json::object()), "jinja");
}

TEST_F(TemplateFolder, NamesTheFileThatIsWrong) {
  write_text(folder_ / "tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "no"}]})");
  try {
    load_chat_template(folder_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "tokenizer_config.json: chat_template has no template \"default\", only: rag");
  }
  write_text(folder_ / "chat_template.jinja", "{{ x");
  try {
    load_chat_template(folder_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "chat_template.jinja:1:1: {{ is not closed by }}");
  }
}

}  // namespace
}  // namespace vlm
