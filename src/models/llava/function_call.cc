#include "models/llava/function_call.h"

#include <nlohmann/json.hpp>

namespace vlm::llava {

namespace {

constexpr char kMark[] = "<fn_call>";
constexpr int kMaxDepth = 100;

// Behind the object that begins at `begin`; npos when its braces do not close.
size_t end_of_object(const std::string& text, size_t begin) {
  int depth = 0;
  bool is_string = false;
  for (size_t at = begin; at < text.size(); ++at) {
    char letter = text[at];
    if (is_string) {
      if (letter == '\\')
        ++at;
      else if (letter == '"')
        is_string = false;
    } else if (letter == '"') {
      is_string = true;
    } else if (letter == '{' || letter == '[') {
      if (++depth > kMaxDepth) return std::string::npos;
    } else if (letter == '}' || letter == ']') {
      if (--depth == 0) return at + 1;
    }
  }
  return std::string::npos;
}

// The first JSON object in the text, and where it stands.
nlohmann::ordered_json first_object(const std::string& text, size_t& begin, size_t& end) {
  for (begin = text.find('{'); begin != std::string::npos; begin = text.find('{', begin + 1)) {
    end = end_of_object(text, begin);
    if (end == std::string::npos) continue;
    auto value = nlohmann::ordered_json::parse(text.substr(begin, end - begin), nullptr,
                                               /*allow_exceptions=*/false);
    if (value.is_object()) return value;
  }
  return nullptr;
}

std::string trimmed(const std::string& text) {
  constexpr char kBlank[] = " \t\r\n";
  size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlank) + 1 - begin);
}

std::string name_in(const std::string& schema_text) {
  size_t begin = 0, end = 0;
  nlohmann::ordered_json schema = first_object(schema_text, begin, end);
  for (const char* key : {"name", "title"})
    if (schema.is_object() && schema.contains(key) && schema[key].is_string())
      return schema[key].get<std::string>();
  return "";
}

}  // namespace

std::string last_question(const Request& request) {
  for (size_t idx = request.messages.size(); idx-- > 0;) {
    const ChatMessage& message = request.messages[idx];
    if (message.role != "user") continue;
    std::string text;
    for (const ContentPart& part : message.content) text += part.text;
    return text;
  }
  return request.prompt;
}

bool asks_for_call(const std::string& question) {
  return question.find(kMark) != std::string::npos;
}

ParsedAnswer read_function_call(const std::string& question, const std::string& answer) {
  ParsedAnswer parsed{answer, {}, {}};
  size_t mark = question.rfind(kMark);
  if (mark == std::string::npos) return parsed;
  size_t begin = 0, end = 0;
  nlohmann::ordered_json arguments = first_object(answer, begin, end);
  if (!arguments.is_object()) return parsed;
  parsed.calls.push_back({name_in(question.substr(mark + sizeof kMark - 1)), arguments.dump()});
  std::string before = trimmed(answer.substr(0, begin)), behind = trimmed(answer.substr(end));
  parsed.text = before + (before.empty() || behind.empty() ? "" : "\n") + behind;
  return parsed;
}

}  // namespace vlm::llava
