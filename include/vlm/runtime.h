// What concerns the whole process: version, threads, messages.
#pragma once

#include <functional>
#include <string>

#include "vlm/abi.h"

namespace vlm::v0 {

// "0.1.0", of the library that runs, which may be newer than the headers.
const char* version();

// How many threads one call may use; 0: one for each core (at first so). Counts from the next call on,
// whichever thread makes it.
void set_threads(int count);

enum class LogLevel { debug, info, warn, error };
// The library prints nothing. What it has to say goes to `sink`, from any thread, one message at a time; an
// empty function silences it again.
void set_log(std::function<void(LogLevel level, const std::string& message)> sink);

}  // namespace vlm::v0
