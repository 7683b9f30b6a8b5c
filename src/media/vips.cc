// The one place that starts libvips and reads its error buffer.
#include <vips/vips.h>

#include <atomic>
#include <mutex>
#include <shared_mutex>

#include "base/error.h"
#include "media/decode.h"

namespace vlm {
namespace {

std::atomic<int> at_work = 0;  // libvips works on threads of its own

// libvips reports through its error buffer; what it also logs would end up on the caller's stderr. The
// warnings of the object system about values that a file led libvips to are dropped too, but only while a
// picture is worked on.
void drop_log(const gchar*, GLogLevelFlags, const gchar*, gpointer) {}
void drop_log_at_work(const gchar* domain, GLogLevelFlags level, const gchar* message, gpointer data) {
  if (at_work == 0) g_log_default_handler(domain, level, message, data);
}

struct AtWork {
  AtWork() { ++at_work; }
  ~AtWork() { --at_work; }
};

void start_vips() {
  static std::once_flag once;
  static bool ready = false;
  std::call_once(once, [] {
    g_log_set_handler("VIPS", static_cast<GLogLevelFlags>(G_LOG_LEVEL_MASK | G_LOG_FLAG_RECURSION), drop_log,
                      nullptr);
    g_log_set_handler("GLib-GObject", G_LOG_LEVEL_WARNING, drop_log_at_work, nullptr);
    if (vips_init("vlm") != 0) return;
    vips_concurrency_set(1);  // pictures are decoded side by side, not one picture by many threads
    vips_cache_set_max(0);    // every call has its own buffer: nothing to find again
    ready = true;
  });
  if (!ready) {
    fail(ErrorKind::unsupported, "reinstall libvips", "libvips cannot be started: {}", vips_error_buffer());
  }
}

struct ThreadShare {
  ~ThreadShare() { vips_thread_shutdown(); }
};

}  // namespace

void with_vips(const std::function<bool()>& work, const std::function<void(const std::string&)>& failed) {
  // The error buffer is one for the process. Failures are rare, so they pay: the work is done again while
  // nobody else works, and what the buffer then holds is about it.
  static std::shared_mutex mutex;
  start_vips();
  thread_local ThreadShare share;
  AtWork scope;
  {
    std::shared_lock lock(mutex);
    if (work()) return;
  }
  std::string reason;
  {
    std::unique_lock lock(mutex);
    vips_error_clear();
    if (work()) return;
    char* text = vips_error_buffer_copy();
    reason = text;
    g_free(text);
  }
  while (!reason.empty() && reason.back() == '\n') reason.pop_back();
  for (char& c : reason) c = c == '\n' ? ';' : c;
  failed(reason);
}

}  // namespace vlm
