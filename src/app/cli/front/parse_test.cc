#include "app/cli/front/parse.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

#include "app/cli/front/help.h"
#include "base/error.h"

namespace vlm::cli {
namespace {

std::string error_of(const std::vector<std::string>& words) {
  try {
    parse_command_line(words);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_request);
    return error.what();
  }
  return "no error";
}

TEST(Parse, RunTakesPicturesAndQuestion) {
  Parsed parsed =
      parse_command_line({"run", "m", "--image", "a.png", "-i", "b.png", "What is this?", "--seed", "7",
                          "--temperature", "0.5", "--stop", "a", "--stop", "b", "--json"});
  const auto& run = std::get<RunOptions>(parsed.options.command);
  EXPECT_EQ(run.model.model, "m");
  EXPECT_EQ(run.images, (std::vector<std::string>{"a.png", "b.png"}));
  EXPECT_EQ(run.words, std::vector<std::string>{"What is this?"});
  EXPECT_EQ(run.answer.seed, 7u);
  EXPECT_EQ(run.answer.temperature, 0.5);
  EXPECT_EQ(run.answer.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(parsed.options.json);
  EXPECT_EQ(parsed.answer, FrontAnswer::none);
}

TEST(Parse, WhatIsNotSaidIsTheCheckpointsToSay) {
  Parsed silent = parse_command_line({"run", "m", "What?", "--speculate"});
  const AnswerFlags& flags = std::get<RunOptions>(silent.options.command).answer;
  EXPECT_FALSE(flags.temperature || flags.top_k || flags.max_new_tokens);
  EXPECT_EQ(flags.speculate, 7);
  Parsed parsed = parse_command_line({"run", "m", "--speculate=3", "--temperature", "0", "What?"});
  const AnswerFlags& answer = std::get<RunOptions>(parsed.options.command).answer;
  EXPECT_EQ(answer.speculate, 3);
  EXPECT_EQ(answer.temperature, 0.0);
  EXPECT_NE(error_of({"run", "m", "What?", "--speculate=8"}), "no error");
}

TEST(Parse, RunTakesVideosAndABase) {
  Parsed parsed = parse_command_line(
      {"run", "m", "--base", "llama", "--system", "slowfast-llava", "--video", "a.mp4", "What happens?"});
  const auto& run = std::get<RunOptions>(parsed.options.command);
  EXPECT_EQ(run.videos, std::vector<std::string>{"a.mp4"});
  EXPECT_EQ(run.model.base, "llama");
  EXPECT_EQ(run.model.system, "slowfast-llava");
  EXPECT_EQ(run.words, std::vector<std::string>{"What happens?"});
}

TEST(Parse, StandardInputIsADash) {
  Parsed parsed = parse_command_line({"run", "default", "--image", "-", "What?"});
  EXPECT_EQ(std::get<RunOptions>(parsed.options.command).images, std::vector<std::string>{"-"});
}

TEST(Parse, LabelsAreSeparatedByCommas) {
  Parsed parsed = parse_command_line({"classify", "m", "--image", "a.png", "--labels", "a cat,a dog"});
  EXPECT_EQ(std::get<ClassifyOptions>(parsed.options.command).labels,
            (std::vector<std::string>{"a cat", "a dog"}));
}

TEST(Parse, DataMakeIsACommandOfItsOwn) {
  Parsed parsed = parse_command_line({"data", "make", "folder", "--count", "5"});
  EXPECT_EQ(std::get<DataMakeOptions>(parsed.options.command).count, 5);
}

TEST(Parse, ComposeTakesAConfigAndAFolder) {
  Parsed parsed = parse_command_line({"compose", "joined.toml", "joined", "--seed", "7"});
  const auto& compose = std::get<ComposeOptions>(parsed.options.command);
  EXPECT_EQ(compose.config, "joined.toml");
  EXPECT_EQ(compose.output, "joined");
  EXPECT_EQ(compose.seed, 7u);
}

TEST(Parse, ListAndShowAreAnsweredByTheFront) {
  EXPECT_EQ(parse_command_line({"list", "splice"}).answer, FrontAnswer::list);
  EXPECT_EQ(parse_command_line({"show", "clip"}).answer, FrontAnswer::show);
  EXPECT_EQ(parse_command_line({"--version"}).answer, FrontAnswer::version);
  EXPECT_EQ(parse_command_line({}).answer, FrontAnswer::help);
}

TEST(Parse, SuggestsTheNearestWord) {
  EXPECT_EQ(error_of({"rnu"}), "there is no command \"rnu\"\n  hint: did you mean `vlm run`?");
  EXPECT_EQ(error_of({"run", "m", "--imge", "a.png", "q"}),
            "vlm run: unknown option --imge\n  hint: did you mean --image?");
  EXPECT_EQ(error_of({"run", "m", "--max-new-token=4", "q"}),
            "vlm run: unknown option --max-new-token=4\n  hint: did you mean --max-new-tokens?");
  EXPECT_EQ(error_of({"data", "mak", "x"}),
            "there is no command \"mak\"\n  hint: did you mean `vlm data make`?");
}

TEST(Parse, SaysWhatIsMissingAndWhatIsWrong) {
  EXPECT_EQ(error_of({"run"}), "vlm run: MODEL is missing\n  hint: `vlm run --help` shows an example");
  EXPECT_EQ(error_of({"verify"}),
            "vlm verify: CASE is missing\n  hint: `vlm verify --help` shows an example");
  EXPECT_NE(error_of({"run", "m", "q", "--precision", "f16"}).find("f16"), std::string::npos);
  EXPECT_NE(error_of({"run", "m", "q", "--max-new-tokens", "many"}).find("many"), std::string::npos);
  EXPECT_NE(error_of({"run", "m", "q", "--max-new-tokens", "0"}).find("max-new-tokens"), std::string::npos);
}

TEST(Help, EveryCommandHasAnExampleThatParses) {
  Grammar grammar;
  for (CLI::App* outer : grammar.app().get_subcommands([](const CLI::App*) { return true; })) {
    std::vector<std::string> names{outer->get_name()};
    Parsed help = parse_command_line({outer->get_name(), "--help"});
    EXPECT_EQ(help.answer, FrontAnswer::help) << outer->get_name();
    size_t place = help.text.find("Example:\n  ");
    ASSERT_NE(place, std::string::npos) << outer->get_name();
    EXPECT_EQ(help.text.find("vlm " + outer->get_name(), place) == std::string::npos &&
                  outer->get_name() != "completions",
              false)
        << help.text;
  }
}

TEST(Help, CompletionsAndManualNameEveryCommand) {
  Grammar grammar;
  std::string manual = manual_text(grammar.app());
  for (CLI::App* command : grammar.app().get_subcommands([](const CLI::App*) { return true; })) {
    EXPECT_NE(manual.find(".SS vlm " + command->get_name()), std::string::npos);
    for (const char* shell : {"bash", "zsh", "fish"})
      EXPECT_NE(completions_text(grammar.app(), shell).find(command->get_name()), std::string::npos);
  }
}

}  // namespace
}  // namespace vlm::cli
