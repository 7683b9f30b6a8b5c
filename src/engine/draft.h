// Guesses of what an answer says next, to be checked several at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace vlm {

// Prompt lookup: what followed the last ids where they stood before, at most `count` ids; empty when they
// never did. Answers about documents repeat them, and themselves.
std::vector<int64_t> draft_by_lookup(std::span<const int64_t> ids, int64_t count);

}  // namespace vlm
