// What was asked on the command line, as plain values. The front (main.cc) fills this in without loading the
// engine; libvlm.so acts on it. Standard types only: it crosses the boundary between the two.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace vlm::cli {

struct ModelOptions {
  std::string model = "default";  // a folder, a hub id in the local cache, or "default"
  std::string revision = "main";
  std::string precision = "auto";
  std::string kv_precision = "auto";  // of keys and values
  std::string base;                   // of delta weights: the language model they are added to
  std::string system;                 // a slug forces that system
  bool lenient = false;
  bool no_cache = false;  // quantised weights are neither kept nor taken from where they are kept
};

struct AnswerFlags {
  // Empty: as the checkpoint's generation_config.json says.
  std::optional<int64_t> max_new_tokens;
  std::optional<double> temperature;  // 0: the best token each time
  std::optional<int64_t> top_k;
  std::optional<double> top_p, min_p, repetition_penalty;
  double presence_penalty = 0;
  double frequency_penalty = 0;
  int64_t num_beams = 1;
  double length_penalty = 1;
  uint64_t seed = 0;
  std::vector<std::string> stop;
  int64_t speculate = 0;  // tokens guessed ahead at once; 0: none
};

struct RunOptions {
  ModelOptions model;
  AnswerFlags answer;
  std::vector<std::string> videos;  // files, folders of frames, http(s) addresses
  std::vector<std::string> images;  // files, "-" for standard input, http(s) addresses
  std::vector<std::string> words;   // pictures and at last the question
  std::string system_prompt;
  std::string trace_folder;
  std::string picture;   // file for the picture with question and answer below it
  std::string annotate;  // file for the picture with the answer's regions drawn into it
  std::string task;      // of systems with a fixed list of tasks: "<OD>"
  std::vector<std::string> boxes, points, masks;  // places that the question speaks of
  std::vector<std::string> choices;               // answers to rank instead of writing one
  bool raw = false;                               // the question is the prompt verbatim
  bool stats = false;
};

struct ChatOptions {
  ModelOptions model;
  AnswerFlags answer;
  std::vector<std::string> images, videos;
  std::string system_prompt;
  bool stats = false;
};

struct EmbedOptions {
  ModelOptions model;
  std::vector<std::string> images, texts;
  std::string output;  // safetensors file
};

struct ClassifyOptions {
  ModelOptions model;
  std::vector<std::string> images;
  std::vector<std::string> labels;  // empty: the model's own classes
  std::string text_template = "a photo of a {}";
  int64_t top = 5;
};

struct SimilarityOptions {
  ModelOptions model;
  std::vector<std::string> images, texts;
};

struct TokenizeOptions {
  std::string model = "default";
  std::string revision = "main";
  std::string text;  // "-": standard input
  std::vector<int64_t> decode;
  bool without_special_tokens = false;
};

struct VerifyOptions {
  std::vector<std::string> cases;
  std::string precision = "f32";
};

struct ListOptions {
  std::vector<std::string> words;
};

struct ShowOptions {
  ModelOptions model;
};

struct PullOptions {
  std::string hub_id;
  std::string revision = "main";
  std::vector<std::string> include, exclude;
  int64_t jobs = 4;
};

struct QuantizeOptions {
  std::string model;
  std::string revision = "main";
  std::string output;
  std::string precision = "int8";
  std::string base;               // of delta weights: the language model they are added to
  std::string calibrate;          // pictures and questions that tell which inputs matter
  int64_t calibrate_count = 128;  // at most so many of them
};

struct CacheOptions {
  bool clear = false;
};

struct DoctorOptions {};

struct BenchOptions {
  ModelOptions model;  // model.model is empty when shapes are given; model.precision is not read
  std::string shapes;  // of a published checkpoint, with made-up weights
  std::vector<std::string> precisions;  // empty: int8
  std::vector<std::string> stages;      // empty: all
  std::vector<int64_t> batches{1, 4}, prompt_tokens{640}, contexts{64, 4096};
  int64_t new_tokens = 16;
  int64_t repeat = 5;
  int64_t layers = 0;  // of the language model that `shapes` names; 0: all
  std::string picture = "672x504";
  bool neighbour = false;  // decode once more beside a busy process
  bool profile = false;
};

struct TrainOptions {
  std::string recipe;
  std::vector<std::string> overrides;
  bool restart = false;
};

struct ComposeOptions {
  std::string config;
  std::string output;
  uint64_t seed = 0;
};

struct DataMakeOptions {
  std::string folder;
  int64_t count = 100;
  uint64_t seed = 0;
  int64_t size_px = 112;
  std::string split = "train";  // or "test": scenes and words that training does not see
};

struct Options {
  bool json = false;
  bool quiet = false;    // no progress, no notes
  bool verbose = false;  // debug notes too
  int64_t threads = 0;   // 0: as many as the machine has
  std::string colour = "auto";
  std::string program_folder;  // where the executable lies
  std::variant<std::monostate, RunOptions, ChatOptions, EmbedOptions, ClassifyOptions, SimilarityOptions,
               TokenizeOptions, VerifyOptions, ListOptions, ShowOptions, PullOptions, QuantizeOptions,
               CacheOptions, DoctorOptions, BenchOptions, TrainOptions, ComposeOptions, DataMakeOptions>
      command;
};

// What the process returns.
constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;      // verify: a case is not reproduced
constexpr int kExitUser = 2;        // bad_request, not_found, unsupported
constexpr int kExitCheckpoint = 3;  // bad_checkpoint
constexpr int kExitResources = 4;   // out_of_resources
constexpr int kExitBug = 70;        // internal (EX_SOFTWARE)
constexpr int kExitInterrupted = 130;

}  // namespace vlm::cli

// Runs a command that needs the engine; reports errors itself and returns the exit code. Exported by
// libvlm.so.
extern "C" int vlm_cli_run(const vlm::cli::Options* options);
