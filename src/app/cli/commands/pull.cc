#include <chrono>
#include <filesystem>
#include <mutex>
#include <thread>

#include "app/cli/commands/command.h"
#include "app/cli/commands/hub.h"
#include "base/files.h"

namespace vlm::cli {

namespace {

constexpr int kAttempts = 5;

// Waits a little longer each time; false when Ctrl-C came.
bool wait_before(int attempt) {
  for (int tick = 0; tick < (5 << attempt) && !interrupted; ++tick)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return !interrupted;
}

class Pull {
 public:
  Pull(const Hub& hub, const HubRepository& repository, std::vector<HubFile> files)
      : hub_(hub), repository_(repository), files_(std::move(files)) {
    for (const HubFile& file : files_) total_bytes_ += file.size_bytes;
  }

  int64_t total_bytes() const { return total_bytes_; }

  void run(int64_t jobs) {
    std::vector<std::thread> threads;
    for (int64_t idx = 0; idx < std::min<int64_t>(jobs, static_cast<int64_t>(files_.size())); ++idx)
      threads.emplace_back([this] { work(); });
    for (std::thread& thread : threads) thread.join();
    if (problem_) std::rethrow_exception(problem_);
  }

 private:
  void work() {
    for (;;) {
      size_t idx = next_++;
      if (idx >= files_.size() || has_problem_) return;
      try {
        fetch(files_[idx]);
      } catch (...) {
        if (!has_problem_.exchange(true)) problem_ = std::current_exception();
        return;
      }
    }
  }

  void fetch(const HubFile& file) {
    for (int attempt = 0;; ++attempt) {
      int64_t counted = 0;
      try {
        fetch_file(hub_, repository_, file, [&](int64_t bytes) {
          counted += bytes;
          int64_t done = done_bytes_ += bytes;
          report_progress(
              {"fetching", static_cast<double>(done), static_cast<double>(total_bytes_), "bytes", file.name});
        });
        return;
      } catch (const Error& error) {
        // A broken connection is taken up again where it stopped.
        if (error.kind() != ErrorKind::out_of_resources || attempt + 1 == kAttempts || has_problem_ ||
            interrupted)
          throw;
        done_bytes_ -= counted;
        log(LogLevel::warn, "{}; trying again", error.message());
        if (!wait_before(attempt)) throw;
      }
    }
  }

  const Hub& hub_;
  const HubRepository& repository_;
  std::vector<HubFile> files_;
  int64_t total_bytes_ = 0;
  std::atomic<int64_t> done_bytes_{0};
  std::atomic<size_t> next_{0};
  std::atomic<bool> has_problem_{false};
  std::exception_ptr problem_;
};

void check_space(const std::filesystem::path& folder, int64_t bytes) {
  std::error_code error;
  std::filesystem::space_info space = std::filesystem::space(folder, error);
  if (!error && space.available < static_cast<uintmax_t>(bytes))
    fail(ErrorKind::out_of_resources, "free some space, or set HF_HOME to a folder on another disk",
         "{} are needed, {} has {} free", bytes_text(static_cast<double>(bytes)), folder.string(),
         bytes_text(static_cast<double>(space.available)));
}

}  // namespace

int run_command(const PullOptions& options, const Context& context) {
  catch_interrupts();
  try {
    Hub hub = Hub::from_environment();
    HubRepository repository = hub.list(options.hub_id, options.revision);
    std::vector<HubFile> files = choose_files(repository.files, options.include, options.exclude);
    if (files.empty())
      fail(ErrorKind::not_found, "look at --include and --exclude", "{} has no such files ({} in all)",
           options.hub_id, repository.files.size());
    std::filesystem::path folder = repository_folder(options.hub_id);
    std::filesystem::create_directories(folder);
    int64_t missing_bytes = 0;
    for (const HubFile& file : files)
      if (!std::filesystem::exists(folder / "blobs" / file.etag)) missing_bytes += file.size_bytes;
    check_space(folder, missing_bytes);
    Pull pull(hub, repository, files);
    pull.run(options.jobs);
    if (options.revision != repository.commit) {
      std::filesystem::path reference = folder / "refs" / options.revision;
      std::filesystem::create_directories(reference.parent_path());
      write_text(reference, repository.commit);
    }
    std::string snapshot = snapshot_folder(repository).string();
    log(LogLevel::info, "{}: {} files, {}", options.hub_id, files.size(),
        bytes_text(static_cast<double>(pull.total_bytes())));
    if (context.options.json)
      print_json({{"model", options.hub_id},
                  {"commit", repository.commit},
                  {"folder", snapshot},
                  {"files", files.size()},
                  {"bytes", pull.total_bytes()}});
    else
      print(snapshot + "\n");
    return kExitOk;
  } catch (const Error&) {
    if (!interrupted) throw;
    log(LogLevel::warn, "interrupted; run the command again to go on");
    return kExitInterrupted;
  }
}

}  // namespace vlm::cli
