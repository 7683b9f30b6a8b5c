#include "nn/quantised_matrices.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/pages.h"
#include "weights/packed_file.h"

namespace vlm::nn {

namespace {

// So much of the checkpoint is in memory before it is needed: enough for the disk to be busy always.
constexpr size_t kAhead_bytes = size_t{256} << 20;
constexpr size_t kStep_bytes = size_t{8} << 20;

using Bytes = std::span<const std::byte>;

// Brings pieces of mapped files into memory, one after the other, on a thread of its own, and stays
// kAhead_bytes in front of who reads them.
class ReadAhead {
 public:
  explicit ReadAhead(std::vector<Bytes> pieces) : pieces_(std::move(pieces)) {
    thread_ = std::thread([this] { run(); });
  }
  ~ReadAhead() {
    {
      std::lock_guard lock(mutex_);
      is_over_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  void finished(size_t piece) {
    {
      std::lock_guard lock(mutex_);
      finished_ += pieces_[piece].size();
    }
    changed_.notify_all();
  }

 private:
  void run() {
    size_t position = 0;
    for (const Bytes& piece : pieces_)
      for (Bytes rest = piece; !rest.empty();) {
        Bytes step = rest.first(std::min(rest.size(), kStep_bytes));
        rest = rest.subspan(step.size());
        position += step.size();
        {
          std::unique_lock lock(mutex_);
          changed_.wait(lock, [&] { return is_over_ || position < finished_ + kAhead_bytes; });
          if (is_over_) return;
          if (position <= finished_) continue;  // overtaken
        }
        prefetch_pages(step);
      }
  }

  std::vector<Bytes> pieces_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t finished_ = 0;  // bytes that were used and let go of
  bool is_over_ = false;
  std::thread thread_;
};

// Work that one thread does in the background, one piece at a time; an exception comes out of the next
// wait().
class Helper {
 public:
  ~Helper() {
    if (thread_.joinable()) thread_.join();
  }
  void wait() {
    if (thread_.joinable()) thread_.join();
    if (problem_) std::rethrow_exception(std::exchange(problem_, nullptr));
  }
  void start(std::function<void()> work) {
    wait();
    thread_ = std::thread([this, work = std::move(work)] {
      try {
        work();
      } catch (...) {
        problem_ = std::current_exception();
      }
    });
  }

 private:
  std::thread thread_;
  std::exception_ptr problem_;
};

// Keeps a mapped file, and brings it into memory while the model is being used already.
class MappedModel {
 public:
  explicit MappedModel(std::shared_ptr<const PackedFile> file) : file_(std::move(file)) {
    thread_ = std::thread([this] {
      for (Bytes rest = file_->mapping()->bytes(); !rest.empty() && !is_over_;) {
        Bytes step = rest.first(std::min(rest.size(), kStep_bytes));
        prefetch_pages(step);
        rest = rest.subspan(step.size());
      }
    });
  }
  ~MappedModel() {
    is_over_ = true;
    thread_.join();
  }
  MappedModel(const MappedModel&) = delete;
  MappedModel& operator=(const MappedModel&) = delete;

 private:
  std::shared_ptr<const PackedFile> file_;
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

// Waits for the disk, and gives the file its name, while the model is being used already.
class FileInTheMaking {
 public:
  FileInTheMaking(std::unique_ptr<PackedFileWriter> writer, std::shared_ptr<const MappedFile> mapping,
                  const PackedPlace& place)
      : mapping_(std::move(mapping)) {
    thread_ = std::thread([writer = std::move(writer), place] {
      try {
        writer->commit(place.key, place.origin);
        log(LogLevel::debug, "{}: kept for the next time", place.file.string());
      } catch (const Error& error) {
        log(LogLevel::warn, "the quantised weights are not kept for the next time: {}", error.message());
      }
    });
  }
  ~FileInTheMaking() { thread_.join(); }
  FileInTheMaking(const FileInTheMaking&) = delete;
  FileInTheMaking& operator=(const FileInTheMaking&) = delete;

 private:
  std::shared_ptr<const MappedFile> mapping_;
  std::thread thread_;
};

size_t memory_of(const PackedEntry& entry) {  // blocks and scales, each at a multiple of 64
  auto up = [](int64_t bytes) { return static_cast<size_t>((bytes + 63) / 64 * 64); };
  return up(entry.blocks_bytes) + up(entry.row_scales * static_cast<int64_t>(sizeof(float)));
}

float* scales_behind(const PackedEntry& entry, std::byte* blocks) {
  return reinterpret_cast<float*>(blocks + (entry.blocks_bytes + 63) / 64 * 64);
}

}  // namespace

ops::Matrix QuantisedMatrices::add(const std::string& name, int64_t out, int64_t in, int bits) {
  auto [known, is_new] = known_.emplace(std::pair(name, bits), jobs_.size());
  if (is_new) {
    ops::Matrix matrix = ops::unfilled_matrix(out, in, bits);
    ops::PackedSizes sizes = ops::packed_sizes(matrix);
    jobs_.push_back({{name, bits, out, in, sizes.blocks_bytes, sizes.row_scales}, std::move(matrix)});
  }
  const Job& job = jobs_[known->second];
  VLM_CHECK(job.entry.out == out && job.entry.in == in, "{} as {} x {} and {} x {}", name, out, in,
            job.entry.out, job.entry.in);
  return job.matrix;
}

void QuantisedMatrices::fill(const TensorSource& source, const PackedPlace& wanted_place) {
  if (jobs_.empty()) return;
  PackedPlace place = wanted_place;
  const int64_t version = ops::layout_version();
  place.key = hash_bytes(std::as_bytes(std::span(&version, 1)), place.key);
  if (!place.file.empty() && fill_from(place)) return;
  std::stable_sort(jobs_.begin(), jobs_.end(), [&](const Job& left, const Job& right) {
    return std::less<>()(source.mapped_bytes(left.entry.name).data(),
                         source.mapped_bytes(right.entry.name).data());
  });
  known_.clear();  // places among the jobs, which have moved
  if (place.file.empty() || !fill_into_file(source, place)) fill_into_memory(source);
}

bool QuantisedMatrices::fill_from(const PackedPlace& place) const {
  std::shared_ptr<const PackedFile> file = PackedFile::open(place.file, place.key);
  if (!file) return false;
  std::map<std::pair<std::string, int64_t>, size_t> stored;
  for (size_t idx = 0; idx < file->entries().size(); ++idx)
    stored[{file->entries()[idx].name, file->entries()[idx].bits}] = idx;
  std::vector<size_t> found;
  for (const Job& job : jobs_) {
    auto at = stored.find({job.entry.name, job.entry.bits});
    if (at == stored.end() || file->entries()[at->second] != job.entry) return false;
    found.push_back(at->second);
  }
  auto owner = std::make_shared<MappedModel>(file);
  for (size_t idx = 0; idx < jobs_.size(); ++idx) {
    PackedBytes bytes = file->bytes(found[idx]);
    ops::place_matrix(jobs_[idx].matrix, bytes.blocks, bytes.row_scales, owner);
  }
  log(LogLevel::debug, "{}: mapped", place.file.string());
  return true;
}

namespace {

// Calls quantise(idx) for every job in turn, with its weights read ahead, and lets go of them afterwards.
void for_each_weight(const TensorSource& source, const std::vector<const PackedEntry*>& entries,
                     const std::function<void(size_t, const Tensor&)>& quantise) {
  constexpr double kShown_bytes = 256e6;  // smaller files are there before a bar could be read
  std::vector<Bytes> pieces;
  Progress progress{"quantising", 0, 0, "bytes", ""};
  for (const PackedEntry* entry : entries) {
    pieces.push_back(source.mapped_bytes(entry->name));
    progress.total += static_cast<double>(source.info(entry->name).file_bytes);
  }
  bool is_shown = progress.total >= kShown_bytes;
  ReadAhead ahead(pieces);
  for (size_t idx = 0; idx < entries.size(); ++idx) {
    if (is_shown) report_progress(progress);
    Tensor weight = source.load(entries[idx]->name);
    quantise(idx, weight);
    if (!pieces[idx].empty())
      drop_pages(pieces[idx]);
    else
      release_pages(weight.data_ptr(), weight.nbytes());
    ahead.finished(idx);
    progress.done += static_cast<double>(source.info(entries[idx]->name).file_bytes);
  }
  if (is_shown) report_progress(progress);
}

}  // namespace

void QuantisedMatrices::fill_into_memory(const TensorSource& source) const {
  std::vector<const PackedEntry*> entries;
  size_t total = 0;
  for (const Job& job : jobs_) {
    entries.push_back(&job.entry);
    total += memory_of(job.entry);
  }
  std::shared_ptr<std::byte> memory = allocate_pages(total);
  std::byte* next = memory.get();
  for_each_weight(source, entries, [&](size_t idx, const Tensor& weight) {
    const Job& job = jobs_[idx];
    float* row_scales = scales_behind(job.entry, next);
    ops::quantise_into(weight, job.matrix, next, row_scales);
    ops::place_matrix(job.matrix, {next, static_cast<size_t>(job.entry.blocks_bytes)}, row_scales, memory);
    next += memory_of(job.entry);
  });
}

bool QuantisedMatrices::fill_into_file(const TensorSource& source, const PackedPlace& place) const {
  std::vector<const PackedEntry*> pointers;
  std::vector<PackedEntry> entries;
  size_t largest = 0;
  for (const Job& job : jobs_) {
    pointers.push_back(&job.entry);
    entries.push_back(job.entry);
    largest = std::max(largest, memory_of(job.entry));
  }
  try {
    auto writer = std::make_unique<PackedFileWriter>(place.file, entries);
    // One is written while the next is made.
    std::shared_ptr<std::byte> buffers[2] = {allocate_pages(largest), allocate_pages(largest)};
    Helper helper;
    for_each_weight(source, pointers, [&](size_t idx, const Tensor& weight) {
      const PackedEntry& entry = jobs_[idx].entry;
      std::byte* blocks = buffers[idx % 2].get();
      float* row_scales = scales_behind(entry, blocks);
      ops::quantise_into(weight, jobs_[idx].matrix, blocks, row_scales);
      helper.start([&writer = *writer, &entry, idx, blocks, row_scales] {
        writer.write(idx, {blocks, static_cast<size_t>(entry.blocks_bytes)},
                     {row_scales, static_cast<size_t>(entry.row_scales)});
      });
    });
    helper.wait();
    PackedFile file = writer->map();
    auto owner = std::make_shared<FileInTheMaking>(std::move(writer), file.mapping(), place);
    for (size_t idx = 0; idx < jobs_.size(); ++idx) {
      PackedBytes bytes = file.bytes(idx);
      ops::place_matrix(jobs_[idx].matrix, bytes.blocks, bytes.row_scales, owner);
    }
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::out_of_resources && error.kind() != ErrorKind::bad_request) throw;
    log(LogLevel::warn, "the quantised weights are not kept for the next time: {}", error.message());
    return false;
  }
}

}  // namespace vlm::nn
