// Chat templates: the part of Jinja2 that published checkpoints use, with limits on steps, output and
// recursion. Blanks around tags, the sandbox and the globals are as transformers sets them.
#pragma once

#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vlm {

class ChatTemplate {
 public:
  // Throws bad_checkpoint with line and column where the template is not understood. `clock`: what
  // strftime_now shows; empty: the local time.
  static std::shared_ptr<const ChatTemplate> compile(std::string_view source,
                                                     std::string name = "chat_template",
                                                     std::function<std::tm()> clock = {});
  virtual ~ChatTemplate() = default;

  // `context` holds messages, add_generation_prompt, bos_token, eos_token, tools, ... as transformers passes
  // them. raise_exception(...) in the template throws bad_request with its text; a template that runs away
  // throws bad_checkpoint.
  virtual std::string render(const nlohmann::ordered_json& context) const = 0;

  // The same, with the byte ranges [begin, end) that the template marks by {% generation %}: what an
  // assistant said, for training.
  struct Marked {
    std::string text;
    std::vector<std::pair<size_t, size_t>> generated;
  };
  virtual Marked render_marked(const nlohmann::ordered_json& context) const = 0;
};

// The template of a checkpoint folder: chat_template.jinja, chat_template.json, or the key chat_template of
// processor_config.json / tokenizer_config.json (a list of named templates: the one called "default"). Null
// when there is none.
std::shared_ptr<const ChatTemplate> load_chat_template(const std::filesystem::path& folder);

}  // namespace vlm
