// Stands in for onednn.cc where oneDNN is not installed.
#include "base/error.h"
#include "bench/onednn.h"

namespace vlm::bench {

std::string onednn_version() {
  return "not there";
}
std::vector<OneDnnKind> onednn_kinds() {
  return {};
}
const char* onednn_name(OneDnnKind) {
  return "";
}

std::function<void()> onednn_product(OneDnnKind, int64_t, int64_t, int64_t) {
  fail(ErrorKind::unsupported, "install libdnnl-dev and build again",
       "this build has no oneDNN to compare with");
}

}  // namespace vlm::bench
