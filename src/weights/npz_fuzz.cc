#include "weights/npz.h"
#include "weights/source_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return vlm::fuzz_source<vlm::NpzFile>(data, size);
}
