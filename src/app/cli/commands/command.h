// The commands that need the engine. Each writes its answer to standard output and returns the exit code.
#pragma once

#include <atomic>
#include <nlohmann/json.hpp>

#include "app/cli/options.h"
#include "app/cli/terminal.h"

namespace vlm::cli {

struct Context {
  const Options& options;
  Terminal terminal;
};

// Set by Ctrl-C, once catch_interrupts() was called.
extern std::atomic<bool> interrupted;
enum class Interrupts {
  stop_once,     // the second Ctrl-C ends the process
  never_end,     // chat: Ctrl-C stops answers alone
  also_on_term,  // training: SIGTERM too leaves time to save
};
void catch_interrupts(Interrupts kind = Interrupts::stop_once);

int run_command(const RunOptions& run, const Context& context);
int run_command(const ChatOptions& chat, const Context& context);
int run_command(const EmbedOptions& embed, const Context& context);
int run_command(const ClassifyOptions& classify, const Context& context);
int run_command(const SimilarityOptions& similarity, const Context& context);
int run_command(const TokenizeOptions& tokenize, const Context& context);
int run_command(const VerifyOptions& verify, const Context& context);
int run_command(const ShowOptions& show, const Context& context);
int run_command(const PullOptions& pull, const Context& context);
int run_command(const QuantizeOptions& quantize, const Context& context);
int run_command(const CacheOptions& cache, const Context& context);
int run_command(const DoctorOptions& doctor, const Context& context);
int run_command(const BenchOptions& bench, const Context& context);
int run_command(const TrainOptions& train, const Context& context);
int run_command(const ComposeOptions& compose, const Context& context);
int run_command(const DataMakeOptions& make, const Context& context);

void print_json(const nlohmann::ordered_json& json);

}  // namespace vlm::cli
