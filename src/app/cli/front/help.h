// Texts made of the grammar: help, completions, the manual page.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace vlm::cli {

std::string overview_text(CLI::App& app);                                 // `vlm --help`
std::string command_text(CLI::App& command);                              // `vlm run --help`
std::string missing_text(CLI::App& command, const std::string& message);  // "MODEL is missing"
std::string completions_text(CLI::App& app, const std::string& shell);
std::string manual_text(CLI::App& app);  // in man(7)'s language

}  // namespace vlm::cli
