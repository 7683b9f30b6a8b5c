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

// Set by the first Ctrl-C; the second one ends the process.
extern std::atomic<bool> interrupted;
void catch_interrupts();

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
int run_command(const DoctorOptions& doctor, const Context& context);
int run_command(const TrainOptions& train, const Context& context);
int run_command(const DataMakeOptions& make, const Context& context);

void print_json(const nlohmann::ordered_json& json);

}  // namespace vlm::cli
