#include "engine/boundary.h"

#include <c10/util/Exception.h>

#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <system_error>

namespace vlm {

namespace {

constexpr char kMemoryHint[] =
    "use a smaller precision (int8, int4), a smaller model or fewer pictures at once";
constexpr char kBugHint[] = "this is a bug of the library: report it with the model's name and the request";

// The tensor library's messages end in a backtrace, which belongs to nobody who asks about a picture.
std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

Error current_error() {
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(ErrorKind::out_of_resources, "there is not enough memory", kMemoryHint);
  } catch (const c10::Error& error) {
    std::string message = first_line(error.what_without_backtrace());
    bool is_memory = message.find("DefaultCPUAllocator") != std::string::npos;
    return is_memory ? Error(ErrorKind::out_of_resources, message, kMemoryHint)
                     : Error(ErrorKind::internal, "tensor library: " + message, kBugHint);
  } catch (const std::filesystem::filesystem_error& error) {
    for (std::errc full : {std::errc::no_space_on_device, std::errc::file_too_large, std::errc::io_error})
      if (error.code() == full)
        return Error(ErrorKind::out_of_resources,
                     fmt::format("{} cannot be written ({})",
                                 error.path2().empty() ? error.path1().string() : error.path2().string(),
                                 error.code().message()),
                     "free some space or choose another folder");
    bool is_missing = error.code() == std::errc::no_such_file_or_directory;
    return Error(is_missing ? ErrorKind::not_found : ErrorKind::bad_request, error.what(),
                 "look at the path and its permissions");
  } catch (const std::exception& error) {
    return Error(ErrorKind::internal, first_line(error.what()), kBugHint);
  } catch (...) {
    return Error(ErrorKind::internal, "something was thrown that is no exception", kBugHint);
  }
}

}  // namespace vlm
