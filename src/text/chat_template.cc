#include "text/chat_template.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"

namespace vlm {

namespace {

constexpr int64_t kMaxSourceBytes = int64_t{1} << 22;  // the longest published one has 30 kB

std::tm local_time() {
  std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  return parts;
}

class JinjaTemplate final : public ChatTemplate {
 public:
  JinjaTemplate(std::string_view source, std::string name, std::function<std::tm()> clock)
      : name_(std::move(name)), clock_(std::move(clock)), body_(jinja::parse_template(source, name_)) {}

  std::string render(const nlohmann::ordered_json& context) const override { return run(context).text; }

  Marked render_marked(const nlohmann::ordered_json& context) const override {
    jinja::Interpreter::Output output = run(context);
    return {std::move(output.text), std::move(output.generated)};
  }

 private:
  jinja::Interpreter::Output run(const nlohmann::ordered_json& context) const {
    return jinja::Interpreter(name_, jinja::Limits{}, clock_).render(body_, context);
  }

  std::string name_;
  std::function<std::tm()> clock_;
  jinja::Body body_;
};

// The template under the key chat_template of a JSON file; false when there is none.
bool read_from_json(const std::filesystem::path& path, std::string& source) {
  if (!std::filesystem::exists(path)) return false;
  Json value = Json::read_file(path).find("chat_template");
  if (value.is_null()) return false;
  if (value.is_string()) {
    source = value.as<std::string>();
    return true;
  }
  std::string names;
  for (int64_t idx = 0; idx < value.size(); ++idx) {
    Json entry = value[idx];
    std::string name = entry.at("name").as<std::string>();
    if (name == "default") {
      source = entry.at("template").as<std::string>();
      return true;
    }
    names += (names.empty() ? "" : ", ") + name;
  }
  fail(ErrorKind::bad_checkpoint, "add a template of that name",
       "{}: chat_template has no template \"default\", only: {}", path.filename().string(), names);
}

}  // namespace

std::shared_ptr<const ChatTemplate> ChatTemplate::compile(std::string_view source, std::string name,
                                                          std::function<std::tm()> clock) {
  if (static_cast<int64_t>(source.size()) > kMaxSourceBytes)
    fail(ErrorKind::bad_checkpoint, "this is not a chat template", "{}: {} bytes, at most {} are read", name,
         source.size(), kMaxSourceBytes);
  if (!clock) clock = local_time;
  return std::make_shared<JinjaTemplate>(source, std::move(name), std::move(clock));
}

std::shared_ptr<const ChatTemplate> load_chat_template(const std::filesystem::path& folder) {
  std::filesystem::path plain = folder / "chat_template.jinja";
  if (std::filesystem::exists(plain))
    return ChatTemplate::compile(read_text(plain, kMaxSourceBytes), plain.filename().string());
  for (const char* name : {"chat_template.json", "processor_config.json", "tokenizer_config.json"}) {
    std::string source;
    if (read_from_json(folder / name, source))
      return ChatTemplate::compile(source, fmt::format("{}: chat_template", name));
  }
  return nullptr;
}

}  // namespace vlm
