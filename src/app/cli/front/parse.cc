#include "app/cli/front/parse.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "app/cli/front/commands.h"
#include "app/cli/front/help.h"
#include "base/error.h"

namespace vlm::cli {

namespace {

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(sub->get_name());
  return names;
}

CLI::App* find_command(CLI::App& app, const std::string& word) {
  for (CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    if (sub->get_name() == word) return sub;
  return nullptr;
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() ? full_name(*app.get_parent()) + " " + app.get_name() : "vlm";
}

[[noreturn]] void fail_unknown_command(const CLI::App& app, const std::string& word) {
  std::string near = nearest_word(word, names_of(app));
  fail(ErrorKind::bad_request,
       near.empty() ? "`" + full_name(app) + " --help` lists the commands"
                    : "did you mean `" + full_name(app) + " " + near + "`?",
       "there is no command \"{}\"", word);
}

// The command that the words name, as deep as they go.
CLI::App& innermost(CLI::App& app) {
  CLI::App* found = &app;
  while (!found->get_subcommands().empty()) found = found->get_subcommands().front();
  return *found;
}

[[noreturn]] void fail_extra(const CLI::App& app, const std::string& word) {
  std::string help = "`" + full_name(app) + " --help` shows what it takes";
  if (!word.starts_with("-"))
    fail(ErrorKind::bad_request, help + "; put texts with spaces into quotes",
         "{}: one word too many: \"{}\"", full_name(app), word);
  std::vector<std::string> options;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) options.push_back("--" + name);
  std::string near = nearest_word(word.substr(0, word.find('=')), options);
  fail(ErrorKind::bad_request, near.empty() ? help : "did you mean " + near + "?", "{}: unknown option {}",
       full_name(app), word);
}

}  // namespace

Grammar::Grammar() : app_(new CLI::App), parsed_(new Parsed) {
  CLI::App& app = *app_;
  app.description("vlm runs, trains and serves vision-language models.");
  app.name("vlm");
  app.set_help_flag("-h,--help", "show this help");
  app.option_defaults()->always_capture_default(false);
  app.require_subcommand(0, 1);
  app.fallthrough(false);
  app.set_version_flag("--version", "vlm " VLM_VERSION, "print the version");
  add_commands(app, *parsed_);
}

Grammar::~Grammar() = default;

Parsed parse_command_line(const std::vector<std::string>& words) {
  Grammar grammar;
  CLI::App& app = grammar.app();
  Parsed& parsed = *grammar.parsed_;
  if (words.empty()) return {{}, FrontAnswer::help, overview_text(app)};
  if (words[0] == "help") {
    if (words.size() > 1) {
      CLI::App* sub = find_command(app, words[1]);
      if (!sub) fail_unknown_command(app, words[1]);
      return {{}, FrontAnswer::help, command_text(*sub)};
    }
    return {{}, FrontAnswer::help, overview_text(app)};
  }
  if (!words[0].starts_with("-") && !find_command(app, words[0])) fail_unknown_command(app, words[0]);
  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::CallForHelp&) {
    CLI::App& inner = innermost(app);
    return {{}, FrontAnswer::help, &inner == &app ? overview_text(app) : command_text(inner)};
  } catch (const CLI::CallForVersion&) {
    return {{}, FrontAnswer::version, "vlm " VLM_VERSION "\n"};
  } catch (const CLI::ExtrasError&) {
    CLI::App& inner = innermost(app);
    std::vector<std::string> extras = app.remaining(true);
    fail_extra(inner, extras.empty() ? "" : extras.front());
  } catch (const CLI::RequiredError& error) {
    CLI::App& inner = innermost(app);
    std::vector<std::string> extras = app.remaining(true);
    if (!names_of(inner).empty() && !extras.empty()) fail_unknown_command(inner, extras.front());
    fail(ErrorKind::bad_request, "`" + full_name(inner) + " --help` shows an example", "{}: {}",
         full_name(inner), missing_text(inner, error.what()));
  } catch (const CLI::ParseError& error) {
    CLI::App& inner = innermost(app);
    fail(ErrorKind::bad_request, "`" + full_name(inner) + " --help` shows what it takes", "{}: {}",
         full_name(inner), error.what());
  }
  if (std::holds_alternative<ListOptions>(parsed.options.command)) parsed.answer = FrontAnswer::list;
  if (std::holds_alternative<ShowOptions>(parsed.options.command)) parsed.answer = FrontAnswer::show;
  return parsed;
}

}  // namespace vlm::cli
