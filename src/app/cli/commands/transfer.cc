#include "app/cli/commands/transfer.h"

#include <curl/curl.h>

#include <cctype>
#include <cstring>
#include <memory>
#include <mutex>

#include "app/cli/commands/command.h"
#include "base/error.h"

namespace vlm::cli {

namespace {

struct Running {
  CURL* handle = nullptr;
  const TransferOptions* options = nullptr;
  const std::function<bool(std::string_view)>* on_bytes = nullptr;
  int64_t received_bytes = 0;
  bool is_too_large = false;
  bool was_stopped = false;
};

size_t receive(char* bytes, size_t size, size_t count, void* user) {
  Running& running = *static_cast<Running*>(user);
  long status = 0;
  curl_easy_getinfo(running.handle, CURLINFO_RESPONSE_CODE, &status);
  size_t length = size * count;
  if (status < 200 || status >= 300) return length;  // pages of errors are dropped
  if (running.received_bytes == 0 && running.options->begin_bytes > 0 && status != 206 &&
      running.options->on_whole)
    running.options->on_whole();
  running.received_bytes += static_cast<int64_t>(length);
  if (running.received_bytes > running.options->limit_bytes) {
    running.is_too_large = true;
    return 0;
  }
  if (!(*running.on_bytes)({bytes, length})) {
    running.was_stopped = true;
    return 0;
  }
  return length;
}

int watch(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return interrupted.load() ? 1 : 0;
}

}  // namespace

void transfer(const std::string& address, const TransferOptions& options,
              const std::function<bool(std::string_view)>& on_bytes) {
  static std::once_flag ready;
  std::call_once(ready, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> handle(curl_easy_init(), curl_easy_cleanup);
  VLM_CHECK(handle, "libcurl gives no handle");
  Running running{handle.get(), &options, &on_bytes};
  char reason[CURL_ERROR_SIZE] = "";
  CURL* curl = handle.get();
  curl_easy_setopt(curl, CURLOPT_URL, address.c_str());
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "vlm/" VLM_VERSION);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);  // bytes a second
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 60L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &running);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch);
  if (options.begin_bytes > 0)
    curl_easy_setopt(curl, CURLOPT_RANGE, fmt::format("{}-", options.begin_bytes).c_str());
  if (!options.token.empty()) {  // libcurl does not send it on to other hosts
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, options.token.c_str());
  }
  CURLcode code = curl_easy_perform(curl);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  if (running.was_stopped || code == CURLE_ABORTED_BY_CALLBACK)
    fail(ErrorKind::bad_request, "run the command again to go on", "{}: interrupted", address);
  if (running.is_too_large)
    fail(ErrorKind::bad_request, "fetch it another way and give the file", "{}: larger than {}", address,
         bytes_text(static_cast<double>(options.limit_bytes)));
  if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT)
    fail(ErrorKind::bad_request, "give an http or https address", "{}: {}", address,
         *reason ? reason : curl_easy_strerror(code));
  if (code != CURLE_OK)
    fail(ErrorKind::out_of_resources, "check the network and the address, then try again", "{}: {}", address,
         *reason ? reason : curl_easy_strerror(code));
  if (status == 404) fail(ErrorKind::not_found, "check the name", "{}: not found (404)", address);
  if (status == 401 || status == 403)
    fail(ErrorKind::bad_request, "set HF_TOKEN to a token that may read it, or check the name",
         "{}: access refused ({})", address, status);
  if (status >= 400 || status == 0)
    fail(ErrorKind::out_of_resources, "try again later", "{}: the server answered {}", address, status);
}

std::string fetch_text(const std::string& address, const TransferOptions& options) {
  std::string text;
  transfer(address, options, [&](std::string_view bytes) {
    text += bytes;
    return true;
  });
  return text;
}

std::string escaped_path(const std::string& path) {
  std::string result;
  for (char letter : path) {
    auto byte = static_cast<unsigned char>(letter);
    bool is_plain = std::isalnum(byte) || std::strchr("/-._~", letter);
    result += is_plain ? std::string(1, letter) : fmt::format("%{:02X}", byte);
  }
  return result;
}

}  // namespace vlm::cli
