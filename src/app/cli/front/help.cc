#include "app/cli/front/help.h"

#include <CLI/CLI.hpp>

#include "app/cli/terminal.h"

namespace vlm::cli {

namespace {

constexpr size_t kColumn = 28;

std::vector<CLI::App*> commands_of(CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

std::string usage_of(const CLI::App& app) {
  std::string text = app.get_parent() ? usage_of(*app.get_parent()) + " " + app.get_name() : "vlm";
  return text;
}

// CLI11 appends the conditions of a value to its type's name.
std::string type_word(const CLI::Option& option) {
  std::string word = option.get_type_name();
  return word.substr(0, word.find(':'));
}

std::string positional_word(const CLI::Option& option) {
  std::string word = type_word(option);
  if (option.get_items_expected_max() > 1) word += "...";
  return option.get_required() ? word : "[" + word + "]";
}

std::string option_names(const CLI::Option& option) {
  std::string names;
  for (const std::string& name : option.get_snames()) names += (names.empty() ? "-" : ", -") + name;
  for (const std::string& name : option.get_lnames()) names += (names.empty() ? "--" : ", --") + name;
  if (option.get_items_expected_max() > 0 && !option.get_type_name().empty())
    names += " " + type_word(option);
  return names;
}

std::string row(const std::string& left, const std::string& right) {
  std::string text = "  " + left;
  if (text.size() + 1 > kColumn) return text + "\n" + std::string(kColumn, ' ') + right + "\n";
  return text + std::string(kColumn - text.size(), ' ') + right + "\n";
}

std::string quoted_for_shell(const std::string& text) {
  std::string result = "'";
  for (char letter : text) result += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return result + "'";
}

std::string long_options(const CLI::App& command) {
  std::string text;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) text += (text.empty() ? "--" : " --") + name;
  return text;
}

std::string names(CLI::App& app) {
  std::string text;
  for (CLI::App* command : commands_of(app)) text += (text.empty() ? "" : " ") + command->get_name();
  return text;
}

std::string bash_text(CLI::App& app) {
  std::string text = R"(_vlm() {
  local word=${COMP_WORDS[COMP_CWORD]} options=
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ")" +
                     names(app) + R"( help --help --version" -- "$word"))
    return
  fi
  case ${COMP_WORDS[1]} in
)";
  for (CLI::App* command : commands_of(app)) {
    std::string inner = names(*command);
    text += "    " + command->get_name() + ") options=\"" + long_options(*command) +
            (inner.empty() ? "" : " " + inner) + "\" ;;\n";
  }
  return text + R"(  esac
  case $word in
    -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -o filenames -F _vlm vlm
)";
}

std::string zsh_text(CLI::App& app) {
  std::string text = "#compdef vlm\n_vlm() {\n  local -a commands\n  commands=(\n";
  for (CLI::App* command : commands_of(app))
    text += "    " + quoted_for_shell(command->get_name() + ":" + command->get_description()) + "\n";
  text +=
      "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n  case "
      "$words[2] in\n";
  for (CLI::App* command : commands_of(app))
    text += "    " + command->get_name() + ") compadd -- " + long_options(*command) + " ;;\n";
  return text + "  esac\n  _files\n}\ncompdef _vlm vlm\n";
}

std::string fish_text(CLI::App& app) {
  std::string text;
  for (CLI::App* command : commands_of(app)) {
    text += "complete -c vlm -n __fish_use_subcommand -f -a " + command->get_name() + " -d " +
            quoted_for_shell(command->get_description()) + "\n";
    for (const CLI::Option* option : command->get_options())
      for (const std::string& name : option->get_lnames())
        text += "complete -c vlm -n '__fish_seen_subcommand_from " + command->get_name() + "' -l " + name +
                " -d " + quoted_for_shell(option->get_description()) + "\n";
  }
  return text;
}

std::string roff(const std::string& text) {
  std::string result;
  for (char letter : text) {
    if (letter == '-') result += '\\';
    if (letter == '\\')
      result += "\\e";
    else
      result += letter;
  }
  return result.starts_with(".") || result.starts_with("'") ? "\\&" + result : result;
}

}  // namespace

std::string overview_text(CLI::App& app) {
  std::string text = "vlm " VLM_VERSION
                     " - runs, trains and serves vision-language models\n\nUsage:\n"
                     "  vlm COMMAND [OPTIONS]\n\nCommands:\n";
  for (CLI::App* command : commands_of(app)) text += row(command->get_name(), command->get_description());
  text += "\nOptions:\n" + row("-h, --help", "show this help; `vlm COMMAND --help` shows a command's") +
          row("--version", "print the version");
  return text + "\nExample:\n  vlm run default --image cat.png \"What is on the sofa?\"\n";
}

std::string command_text(CLI::App& command) {
  std::string text = command.get_description() + "\n\nUsage:\n  " + usage_of(command);
  std::string positionals;
  for (const CLI::Option* option : command.get_options()) {
    if (option->nonpositional()) continue;
    text += " " + positional_word(*option);
    positionals += row(option->get_type_name(), option->get_description());
  }
  std::vector<CLI::App*> inner = commands_of(command);
  if (!inner.empty()) text += " COMMAND";
  text += " [OPTIONS]\n" + (positionals.empty() ? "" : "\n" + positionals);
  if (!inner.empty()) {
    text += "\nCommands:\n";
    for (CLI::App* sub : inner) text += row(sub->get_name(), sub->get_description());
  }
  for (const std::string& group : command.get_groups()) {
    std::string rows;
    for (const CLI::Option* option : command.get_options())
      if (option->nonpositional() && option->get_group() == group)
        rows += row(option_names(*option), option->get_description());
    if (!rows.empty()) text += "\n" + group + ":\n" + rows;
  }
  return text + "\n" + command.get_footer() + "\n";
}

std::string missing_text(CLI::App& command, const std::string& message) {
  for (const CLI::Option* option : command.get_options())
    if (option->get_required() && option->count() == 0) return option->get_type_name() + " is missing";
  if (!commands_of(command).empty()) return "a command is missing (" + names(command) + ")";
  return message;
}

std::string completions_text(CLI::App& app, const std::string& shell) {
  if (shell == "zsh") return zsh_text(app);
  if (shell == "fish") return fish_text(app);
  return bash_text(app);
}

std::string manual_text(CLI::App& app) {
  std::string text =
      ".TH VLM 1 \"\" \"vlm " VLM_VERSION
      "\"\n.SH NAME\nvlm \\- runs, trains and serves vision\\-language models\n.SH SYNOPSIS\n.B vlm\n"
      "COMMAND [OPTIONS]\n.SH COMMANDS\n";
  for (CLI::App* outer : commands_of(app)) {
    std::vector<CLI::App*> group = commands_of(*outer);
    if (group.empty()) group.push_back(outer);
    for (CLI::App* command : group) {
      text += ".SS " + roff(usage_of(*command));
      for (const CLI::Option* option : command->get_options())
        if (!option->nonpositional()) text += " " + roff(positional_word(*option));
      text += "\n" + roff(command->get_description()) + ".\n";
      for (const CLI::Option* option : command->get_options()) {
        std::string left = option->nonpositional() ? option_names(*option) : option->get_type_name();
        text += ".TP\n.B " + roff(left) + "\n" + roff(option->get_description()) + "\n";
      }
      std::string example = command->get_footer();
      text += ".PP\nExample:\n.PP\n.RS\n" + roff(example.substr(example.find("  ") + 2)) + "\n.RE\n";
    }
  }
  return text +
         R"(.SH EXIT STATUS
0: done. 1: a reference case is not reproduced. 2: wrong input. 3: a damaged or incomplete checkpoint.
4: memory or disk exhausted. 70: a bug of vlm. 130: interrupted.
.SH ENVIRONMENT
.TP
.B HF_HOME, HF_HUB_CACHE
where the hub's local cache lies
.TP
.B HF_TOKEN, HF_ENDPOINT
token and address of the hub for
.B vlm pull
.TP
.B VLM_ASSETS
folder that holds the default model
.TP
.B VLM_KERNELS
off, avx2, avx-vnni or best
.TP
.B NO_COLOR
no colour on terminals
)";
}

}  // namespace vlm::cli
