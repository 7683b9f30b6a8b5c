// Any bytes as a chat template over a small chat: the only way out besides text is a vlm::Error that is not
// ours.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const nlohmann::ordered_json context = nlohmann::ordered_json::parse(R"({
    "messages": [
      {"role": "system", "content": "Be \u00e9 terse."},
      {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What\n is 1 + 2.5?"}]},
      {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, -2.5]}}}]}
    ],
    "tools": [{"function": {"name": "f", "parameters": {"properties": {"x": {"type": "array"}}}}}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "n": 7, "big": 9223372036854775807})");
  static const std::string name = "fuzz";
  vlm::jinja::Limits limits;
  limits.steps = 50'000;
  limits.text_bytes = 1 << 20;
  try {
    vlm::jinja::Body body =
        vlm::jinja::parse_template(std::string_view(reinterpret_cast<const char*>(data), size), name);
    vlm::jinja::Interpreter(name, limits, [] { return std::tm{}; }).render(body, context);
  } catch (const vlm::Error& error) {
    if (error.kind() == vlm::ErrorKind::internal) __builtin_trap();
  }
  return 0;
}
