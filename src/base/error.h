// Throwing vlm::Error, and checks.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "vlm/error.h"

namespace vlm {

[[noreturn]] void fail_check(const char* condition, const char* file, int line, const std::string& detail);

// fail(ErrorKind::not_found, "look at the path", "{}: no such file", path): the hint comes first because the
// message has arguments.
template <typename... Args>
[[noreturn]] void fail(ErrorKind kind, std::string hint, fmt::format_string<Args...> message,
                       Args&&... args) {
  throw Error(kind, fmt::format(message, std::forward<Args>(args)...), std::move(hint));
}

// Runs `body`; an Error that leaves it gets `where` as context.
template <typename Body>
auto with_context(const std::string& where, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Error& error) {
    throw error.with_context(where);
  }
}

// The word of `known` nearest to `word`, or "" when none is near: for "did you mean".
std::string nearest_word(const std::string& word, const std::vector<std::string>& known);

}  // namespace vlm

// Always on. A failure is our bug (kind internal) and must not be reachable from input.
#define VLM_CHECK(condition, ...)                                                                       \
  do {                                                                                                  \
    if (!(condition)) ::vlm::fail_check(#condition, __FILE__, __LINE__, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
