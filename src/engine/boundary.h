// Whatever is thrown below becomes a vlm::Error at the boundaries: public API, command line, server.
#pragma once

#include "base/error.h"

namespace vlm {

// Call it inside a catch block: the exception in flight, translated. Running out of memory is
// out_of_resources; what nobody expected is internal.
Error current_error();

template <typename Body>
auto with_errors(Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (...) {
    throw current_error();
  }
}

}  // namespace vlm
