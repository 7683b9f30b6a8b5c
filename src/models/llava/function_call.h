// Nous-Hermes-2-Vision's function calls: "<fn_call>" and a JSON schema in the question, an object of that
// schema as the answer.
#pragma once

#include "system/answer.h"

namespace vlm::llava {

// The text of the last question, of a chat or a raw prompt.
std::string last_question(const Request& request);

// Whether it holds "<fn_call>".
bool asks_for_call(const std::string& question);

// `question` holds "<fn_call>": the JSON object in `answer` becomes a call, named by the schema's "name" or
// "title"; what stands around it stays text. Else everything is text.
ParsedAnswer read_function_call(const std::string& question, const std::string& answer);

}  // namespace vlm::llava
