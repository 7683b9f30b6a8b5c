// Tokens to tree.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja_ast.h"

namespace vlm::jinja {

// Throws bad_checkpoint with name, line and column.
Body parse_template(std::string_view source, const std::string& name);

}  // namespace vlm::jinja
