#include "engine/case.h"

#include "base/error.h"

namespace vlm {

namespace {

ChatMessage message_from(const Json& json, std::vector<std::filesystem::path>& pictures,
                         const std::filesystem::path& folder) {
  ChatMessage message{json.at("role").as<std::string>(), {}};
  Json content = json.at("content");
  if (content.is_string()) {
    message.content.push_back({ContentPart::Kind::text, content.as<std::string>()});
    return message;
  }
  for (int64_t idx = 0; idx < content.size(); ++idx) {
    Json part = content[idx];
    std::string type = part.at("type").as<std::string>();
    if (type == "text") {
      message.content.push_back({ContentPart::Kind::text, part.at("text").as<std::string>()});
    } else if (type == "image") {
      message.content.push_back({ContentPart::Kind::image, ""});
      pictures.push_back(folder / part.at("path").as<std::string>());
    } else {
      fail(ErrorKind::unsupported, "known: text, image", "{}: content of type \"{}\"", part.path(), type);
    }
  }
  return message;
}

}  // namespace

ReferenceCase ReferenceCase::read(const std::filesystem::path& folder) {
  Json json = Json::read_file(folder / "case.json");
  if (int64_t format = json.at("format").as<int64_t>(); format != 1)
    fail(ErrorKind::unsupported, "update vlm", "{}: format {} of a newer version; 1 is known",
         (folder / "case.json").string(), format);
  ReferenceCase result;
  result.folder = folder;
  result.system = json.at("system").as<std::string>();
  result.task = json.at("task").as<std::string>();
  Json inputs = json.at("inputs");
  std::vector<std::filesystem::path> pictures;
  Json messages = inputs.find("messages");
  for (int64_t idx = 0; idx < messages.size(); ++idx)
    result.request.messages.push_back(message_from(messages[idx], pictures, folder));
  result.request.prompt = inputs.get("prompt", "");
  for (const std::string& path : inputs.get("images", std::vector<std::string>{}))
    pictures.push_back(folder / path);
  for (const std::filesystem::path& path : pictures) result.request.images.push_back(read_image(path));
  if (inputs.has("target")) result.request.target = inputs.at("target").as<std::string>();
  result.texts = inputs.get("texts", std::vector<std::string>{});
  result.max_new_tokens = json.find("generate").get<int64_t>("max_new_tokens", 0);
  if (json.has("rendered_prompt")) result.rendered_prompt = json.at("rendered_prompt").as<std::string>();
  Json checks = json.at("checks");
  for (int64_t idx = 0; idx < checks.size(); ++idx) {
    Json check = checks[idx];
    result.checks.push_back({check.at("tensor").as<std::string>(), check.get("exact", false),
                             check.get("atol", 0.0), check.get("rtol", 0.0)});
  }
  if (result.checks.empty())
    fail(ErrorKind::bad_request, "list what to compare", "{}: no checks", (folder / "case.json").string());
  result.expected = open_safetensors(folder / "expected.safetensors");
  return result;
}

}  // namespace vlm
