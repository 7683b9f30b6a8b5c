// The one exception type of the library. Every boundary (C API, command line, server) catches it once and
// translates it.
#pragma once

#include <exception>
#include <string>

namespace vlm {

enum class ErrorKind {
  bad_request,       // the caller's input: an option, a prompt, a picture
  not_found,         // a file, a model, a tensor name that does not exist
  unsupported,       // valid, but not implemented here; the message names it
  bad_checkpoint,    // a corrupt or incomplete file of a model
  out_of_resources,  // memory, disk, limits
  internal,          // our bug: never reachable from input
};

// The word for a kind, as the command line and the server print it: "bad_request", ...
const char* kind_name(ErrorKind kind);

class Error : public std::exception {
 public:
  // message: what happened, with the numbers, and where. hint: what to do, in the imperative (may be empty
  // only for internal).
  Error(ErrorKind kind, std::string message, std::string hint);

  const char* what() const noexcept override { return text_.c_str(); }  // "message\n  hint: ..."
  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }

  // Puts "where: " before the message; used while the error travels up ("image 2 of 3 (cat.png)").
  Error with_context(const std::string& where) const;

 private:
  ErrorKind kind_;
  std::string message_;
  std::string hint_;
  std::string text_;
};

}  // namespace vlm
