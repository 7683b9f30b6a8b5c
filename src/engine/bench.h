// How fast a loaded model is, stage by stage: picture to tensor, encoding, prefill, first token, decoding.
// Every stage says what it multiplied and read, counted from the matrices and caches themselves
// (tensor/tally.h).
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "media/image.h"
#include "system/system.h"
#include "tensor/tally.h"

namespace vlm {

struct BenchOptions {
  std::set<std::string> stages;             // only these; empty: all
  std::vector<int64_t> batches{1, 4};       // sequences decoded, or pictures embedded, at once
  std::vector<int64_t> prompt_tokens{640};  // with the picture's own when they fit
  std::vector<int64_t> contexts{64, 4096};  // tokens in the cache while decoding
  int64_t new_tokens = 16;                  // steps of each decoding row
  int64_t repeat = 5;                       // runs of each other row, fewer when they take long
  int64_t picture_height = 504, picture_width = 672;
};

struct BenchRow {
  std::string stage = {};  // "load", "picture", "encode", "prefill", "first-token", "decode"
  std::string what = {};   // of which size, for people
  double count = 0;        // how many `unit`s a run does
  std::string unit = {};   // "pictures", "tokens"; "" where only the time matters
  int64_t batch = 1;
  int64_t context = 0;  // decode: tokens in the cache; prefill: of the prompt
  int threads = 0;
  std::vector<double> seconds = {};                               // of every run
  tally::Work work = {};                                          // of one run
  std::map<std::string, tally::Entry> profile = {}, shapes = {};  // of one run of `profiled_seconds`
  double profiled_seconds = 0;
  int64_t peak_bytes = 0;    // of resident memory while the row ran
  std::string skipped = {};  // why there are no seconds

  double median() const;
  double best() const;
};

// A picture like a photograph: smooth, with edges and noise; the same for equal sizes.
Image bench_picture(int64_t height, int64_t width);

// Rows in the order of the stages, also as they come to `on_row`.
std::vector<BenchRow> bench_model(const LoadedModel& loaded, const BenchOptions& options,
                                  const std::function<void(const BenchRow&)>& on_row = {});

// Of this process; 0 where the system does not say.
int64_t resident_bytes();
int64_t peak_resident_bytes();
void forget_peak();  // the peak starts anew from what is resident now

}  // namespace vlm
