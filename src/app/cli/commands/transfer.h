// HTTP requests of the command line, through libcurl.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace vlm::cli {

struct TransferOptions {
  int64_t limit_bytes = int64_t{64} << 20;
  std::string token = {};   // sent as "Authorization: Bearer", to the first host alone
  int64_t begin_bytes = 0;  // > 0: only what follows
  std::function<void()> on_whole =
      {};  // the server sends all of it nevertheless; called before the first bytes
};

// GET. `on_bytes` gets the body as it comes (of successful answers alone) and returns false to stop. Only
// http and https, at most ten redirects, no stalls above a minute. Throws not_found (404), bad_request (other
// answers), out_of_resources (network); an answer larger than the limit is bad_request.
void transfer(const std::string& address, const TransferOptions& options,
              const std::function<bool(std::string_view)>& on_bytes);

std::string fetch_text(const std::string& address, const TransferOptions& options);

// Letters that mean something in an address, escaped; slashes stay.
std::string escaped_path(const std::string& path);

}  // namespace vlm::cli
