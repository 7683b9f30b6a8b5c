// Chat templates: the part of Jinja2 that published checkpoints use, with limits on steps, output and
// recursion.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace vlm {

class ChatTemplate {
 public:
  // Throws bad_checkpoint with line and column where the template is not understood.
  static std::shared_ptr<const ChatTemplate> compile(std::string_view source,
                                                     std::string name = "chat_template");
  virtual ~ChatTemplate() = default;

  // `context` holds messages, add_generation_prompt, bos_token, eos_token, tools, ... as transformers passes
  // them. raise_exception(...) in the template throws bad_request with its text; a template that runs away
  // throws bad_checkpoint.
  virtual std::string render(const nlohmann::ordered_json& context) const = 0;
};

// The template of a checkpoint folder: chat_template.jinja, chat_template.json, or the key chat_template of
// tokenizer_config.json / processor_config.json (a list of named templates: the one called "default"). Null
// when there is none.
std::shared_ptr<const ChatTemplate> load_chat_template(const std::filesystem::path& folder);

}  // namespace vlm
