#include "app/cli/front/commands.h"

#include <CLI/CLI.hpp>
#include <memory>

namespace vlm::cli {

namespace {

CLI::App& command(CLI::App& parent, const std::string& name, const std::string& what,
                  const std::string& example) {
  CLI::App& app = *parent.add_subcommand(name, what);
  app.footer("Example:\n  " + example);
  app.positionals_at_end(false);
  return app;
}

// The option struct that a command fills lives in the variant from the moment the command is met.
template <typename T>
std::shared_ptr<T> target_of(CLI::App& app, Parsed& parsed) {
  auto target = std::make_shared<T>();
  app.parse_complete_callback([target, &parsed] { parsed.options.command = *target; });
  return target;
}

void add_common(CLI::App& app, Options& options) {
  app.add_flag("--json", options.json, "print one JSON object instead of text");
  app.add_flag("-q,--quiet", options.quiet, "no progress and no notes");
  app.add_flag("-v,--verbose", options.verbose, "more notes");
  app.add_option("--threads", options.threads, "processor threads (default: all cores)")
      ->check(CLI::Range(int64_t{1}, int64_t{1024}))
      ->type_name("N");
  app.add_option("--color,--colour", options.colour, "auto, always or never")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->type_name("WHEN");
}

void add_model(CLI::App& app, ModelOptions& model) {
  app.add_option("model", model.model, "a folder, a hub id in the local cache, or \"default\"")
      ->type_name("MODEL")
      ->required();
  app.add_option("--revision", model.revision, "branch, tag or commit of a hub id (default: main)")
      ->type_name("REV");
  app.add_option("--precision", model.precision,
                 "auto, f32, bf16, int8 or int4 (auto: as stored, f32 for small models)")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "int8", "int4"}))
      ->type_name("P");
  app.add_option("--kv-precision", model.kv_precision,
                 "of keys and values: auto, f32, f16 or int8 (auto: f16, f32 beside f32 weights)")
      ->check(CLI::IsMember({"auto", "f32", "f16", "int8"}))
      ->type_name("P");
  app.add_option("--base", model.base, "of delta weights: the language model they are added to")
      ->type_name("MODEL");
  app.add_option("--system", model.system, "read the checkpoint as this system of `vlm list`")
      ->type_name("SLUG");
  app.add_flag("--lenient", model.lenient,
               "note missing and unused tensors instead of refusing the checkpoint");
  app.add_flag("--no-cache", model.no_cache,
               "neither keep quantised weights for the next time nor take kept ones (`vlm cache list`)");
}

CLI::Option* add_list(CLI::App& app, const char* name, std::vector<std::string>& list, const char* about) {
  return app.add_option(name, list, about)
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void add_pictures(CLI::App& app, std::vector<std::string>& images) {
  add_list(app, "-i,--image", images, "a picture: file, http(s) address, or - for standard input")
      ->type_name("FILE");
}

void add_videos(CLI::App& app, std::vector<std::string>& videos) {
  add_list(app, "--video", videos, "a video: file, folder of pictures, or http(s) address")
      ->type_name("FILE");
}

void add_texts(CLI::App& app, std::vector<std::string>& texts) {
  add_list(app, "-t,--text", texts, "a text; may be given several times")->type_name("TEXT");
}

void add_answer(CLI::App& app, AnswerFlags& answer) {
  const std::string group = "Sampling";
  app.add_option("-n,--max-new-tokens", answer.max_new_tokens,
                 "longest answer (default: the checkpoint's, else 512)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->type_name("N");
  app.add_option("--temperature", answer.temperature,
                 "0: the likeliest token; else draw (default: the checkpoint's, else 0)")
      ->type_name("T")
      ->group(group);
  app.add_option("--top-k", answer.top_k, "draw from the K likeliest tokens")->type_name("K")->group(group);
  app.add_option("--top-p", answer.top_p, "draw from the likeliest that hold probability P")
      ->type_name("P")
      ->group(group);
  app.add_option("--min-p", answer.min_p, "drop tokens below P times the best one's probability")
      ->type_name("P")
      ->group(group);
  app.add_option("--repetition-penalty", answer.repetition_penalty, "above 1: repeat less")
      ->type_name("R")
      ->group(group);
  app.add_option("--presence-penalty", answer.presence_penalty, "as in OpenAI's API")
      ->type_name("R")
      ->group(group);
  app.add_option("--frequency-penalty", answer.frequency_penalty, "as in OpenAI's API")
      ->type_name("R")
      ->group(group);
  app.add_option("--beams", answer.num_beams, "beam search with this many beams (not streamed)")
      ->check(CLI::Range(int64_t{1}, int64_t{64}))
      ->type_name("N")
      ->group(group);
  app.add_option("--length-penalty", answer.length_penalty, "of beam search; above 0 favours long answers")
      ->type_name("R")
      ->group(group);
  app.add_option("--seed", answer.seed, "equal seeds give equal answers (default: 0)")
      ->type_name("N")
      ->group(group);
  app.add_flag("--speculate{7}", answer.speculate,
               "guess N tokens ahead from what was said before (=7), check them in one pass; same answer")
      ->check(CLI::Range(int64_t{0}, int64_t{7}));
  add_list(app, "--stop", answer.stop, "end the answer before this text; may be given several times")
      ->type_name("TEXT")
      ->group(group);
}

void add_run(CLI::App& parent, Parsed& parsed) {
  CLI::App& app = command(parent, "run", "answer a question about pictures",
                          "vlm run default --image cat.png \"What is on the sofa?\"");
  auto run = target_of<RunOptions>(app, parsed);
  add_model(app, run->model);
  app.add_option("question", run->words, "the question; - reads it from standard input")
      ->type_name("QUESTION");
  add_pictures(app, run->images);
  add_videos(app, run->videos);
  app.add_option("--system-prompt", run->system_prompt, "what the model is told before the question")
      ->type_name("TEXT");
  app.add_flag("--raw", run->raw,
               "the question is the whole prompt, placeholders included; no chat template");
  app.add_option("--trace", run->trace_folder, "write the intermediate tensors into this folder")
      ->type_name("DIR");
  app.add_option("--picture", run->picture, "write the first picture with question and answer below it")
      ->type_name("FILE");
  app.add_option("--annotate", run->annotate,
                 "write the first picture with what the answer points at drawn in")
      ->type_name("FILE");
  app.add_option("--task", run->task, "a task of the model's own list: \"<OD>\"")->type_name("TASK");
  add_list(app, "--box", run->boxes, "a box that the question speaks of, in pixels")
      ->type_name("X0,Y0,X1,Y1");
  add_list(app, "--point", run->points, "a point likewise; with ,0 one outside of what is meant")
      ->type_name("X,Y[,0]");
  add_list(app, "--mask", run->masks, "a picture that is white where it is meant")->type_name("FILE");
  add_list(app, "--choose", run->choices, "rank these answers instead of writing one; give it for each")
      ->type_name("TEXT");
  app.add_flag("--stats", run->stats, "print times and rates");
  add_answer(app, run->answer);
}

void add_chat(CLI::App& parent, Parsed& parsed) {
  CLI::App& app = command(parent, "chat", "talk about pictures", "vlm chat default --image cat.png");
  auto chat = target_of<ChatOptions>(app, parsed);
  add_model(app, chat->model);
  add_pictures(app, chat->images);
  add_videos(app, chat->videos);
  app.add_option("--system-prompt", chat->system_prompt, "what the model is told before the first question")
      ->type_name("TEXT");
  app.add_flag("--stats", chat->stats, "print times and rates after each answer");
  add_answer(app, chat->answer);
}

void add_vectors(CLI::App& parent, Parsed& parsed) {
  CLI::App& embed_app =
      command(parent, "embed", "pictures and texts as vectors",
              "vlm embed openai/clip-vit-base-patch32 --image cat.png --text \"a cat\" --json");
  auto embed = target_of<EmbedOptions>(embed_app, parsed);
  add_model(embed_app, embed->model);
  add_pictures(embed_app, embed->images);
  add_texts(embed_app, embed->texts);
  embed_app
      .add_option("-o,--output", embed->output, "write image_embeds and text_embeds into a safetensors file")
      ->type_name("FILE");

  CLI::App& classify_app =
      command(parent, "classify", "which label fits a picture",
              "vlm classify openai/clip-vit-base-patch32 --image pet.png --labels \"a cat,a dog\"");
  auto classify = target_of<ClassifyOptions>(classify_app, parsed);
  add_model(classify_app, classify->model);
  add_pictures(classify_app, classify->images);
  classify_app
      .add_option("--labels", classify->labels,
                  "labels, separated by commas (default: the model's own classes)")
      ->type_name("A,B,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  classify_app
      .add_option("--template", classify->text_template,
                  "text made of a label (default: \"a photo of a {}\")")
      ->type_name("TEXT");
  classify_app.add_option("--top", classify->top, "how many labels to print (default: 5)")
      ->check(CLI::Range(int64_t{1}, int64_t{100000}))
      ->type_name("N");

  CLI::App& similarity_app =
      command(parent, "similarity", "how well pictures and texts fit together",
              "vlm similarity openai/clip-vit-base-patch32 --image a.png --image b.png --text \"a red bus\"");
  auto similarity = target_of<SimilarityOptions>(similarity_app, parsed);
  add_model(similarity_app, similarity->model);
  add_pictures(similarity_app, similarity->images);
  add_texts(similarity_app, similarity->texts);

  CLI::App& tokenize_app = command(parent, "tokenize", "text as a model's token ids, and back",
                                   "vlm tokenize default \"What is this?\"");
  auto tokenize = target_of<TokenizeOptions>(tokenize_app, parsed);
  tokenize_app.add_option("model", tokenize->model, "a folder, a hub id in the local cache, or \"default\"")
      ->type_name("MODEL")
      ->required();
  tokenize_app.add_option("text", tokenize->text, "the text; - reads standard input")->type_name("TEXT");
  tokenize_app.add_option("--decode", tokenize->decode, "token ids to turn into text, separated by commas")
      ->type_name("ID,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  tokenize_app
      .add_option("--revision", tokenize->revision, "branch, tag or commit of a hub id (default: main)")
      ->type_name("REV");
  tokenize_app.add_flag("--no-special", tokenize->without_special_tokens,
                        "do not add the tokens that begin and end a text");
}

void add_looking(CLI::App& parent, Parsed& parsed) {
  CLI::App& list_app = command(parent, "list", "all systems, and what works today", "vlm list splice 2024");
  auto list = target_of<ListOptions>(list_app, parsed);
  list_app.add_option("words", list->words, "only systems whose card holds all of these")->type_name("WORD");

  CLI::App& show_app =
      command(parent, "show", "the card of a system, or what a checkpoint holds", "vlm show llava-1.5");
  auto show = target_of<ShowOptions>(show_app, parsed);
  add_model(show_app, show->model);
  show_app.get_option("model")->description("a system of `vlm list`, a folder, a hub id, or \"default\"");

  CLI::App& doctor = command(parent, "doctor", "what this machine has, and what will be used", "vlm doctor");
  target_of<DoctorOptions>(doctor, parsed);

  CLI::App& verify_app = command(parent, "verify", "compare with reference cases, tensor by tensor",
                                 "vlm verify tests/cases/llava-1.5-a");
  auto verify = target_of<VerifyOptions>(verify_app, parsed);
  verify_app.add_option("cases", verify->cases, "folders with case.json, or folders of such folders")
      ->type_name("CASE")
      ->required();
  verify_app.add_option("--precision", verify->precision, "f32 (default), bf16, int8 or int4")
      ->check(CLI::IsMember({"f32", "bf16", "int8", "int4"}))
      ->type_name("P");
}

void add_bench(CLI::App& parent, Parsed& parsed) {
  CLI::App& app = command(parent, "bench", "how fast a model is here, beside what the machine can reach",
                          "vlm bench --shapes llava-1.5 --layers 4 --precision int8,int4");
  auto bench = target_of<BenchOptions>(app, parsed);
  bench->model.model.clear();
  add_model(app, bench->model);
  app.get_option("model")->required(false);
  app.remove_option(app.get_option("--precision"));
  auto add_counts = [&](const char* name, std::vector<int64_t>& list, const char* about) {
    app.add_option(name, list, about)
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
        ->type_name("N,...")
        ->delimiter(',')
        ->allow_extra_args(false);
  };
  app.add_option("--shapes", bench->shapes,
                 "in place of a model: a published one's shapes with made-up weights; a system or one of its "
                 "checkpoints of manifests/, or tinyllama-1.1b, llama-7b")
      ->type_name("SLUG[/NAME]");
  app.add_option("--layers", bench->layers, "with --shapes: keep so many layers of the language model")
      ->check(CLI::Range(int64_t{1}, int64_t{1024}))
      ->type_name("N");
  app.add_option("--precision", bench->precisions,
                 "f32, bf16, int8 (default), int4, or torch: float32 by the tensor library alone")
      ->check(CLI::IsMember({"f32", "bf16", "int8", "int4", "torch"}))
      ->type_name("P,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--stages", bench->stages, "only these: picture, encode, prefill, first-token, decode")
      ->check(CLI::IsMember({"picture", "encode", "prefill", "first-token", "decode"}))
      ->type_name("S,...")
      ->delimiter(',')
      ->allow_extra_args(false);
  add_counts("--batch", bench->batches, "sequences decoded or pictures embedded at once (default: 1,4)");
  add_counts("--prompt-tokens", bench->prompt_tokens, "lengths of prompts (default: 640)");
  add_counts("--context", bench->contexts, "tokens in memory while decoding (default: 64,4096)");
  app.add_option("--new-tokens", bench->new_tokens, "decoding steps of each row (default: 16)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->type_name("N");
  app.add_option("--repeat", bench->repeat, "runs of the other rows, fewer when they are long (default: 5)")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}))
      ->type_name("N");
  app.add_option("--picture", bench->picture, "width and height of the encoded picture (default: 672x504)")
      ->type_name("WxH");
  app.add_flag("--neighbour", bench->neighbour, "decode once more beside a process that keeps one core busy");
  app.add_flag("--profile", bench->profile, "where the time of each row goes");
}

void add_making(CLI::App& parent, Parsed& parsed) {
  CLI::App& pull_app = command(parent, "pull", "fetch a checkpoint from the hub into its local cache",
                               "vlm pull llava-hf/llava-1.5-7b-hf");
  auto pull = target_of<PullOptions>(pull_app, parsed);
  pull_app.add_option("hub_id", pull->hub_id, "organisation/name")->type_name("HUB_ID")->required();
  pull_app.add_option("--revision", pull->revision, "branch, tag or commit (default: main)")
      ->type_name("REV");
  add_list(pull_app, "--include", pull->include, "only files that match this pattern (* and ?)")
      ->type_name("GLOB");
  add_list(pull_app, "--exclude", pull->exclude, "no files that match this pattern")->type_name("GLOB");
  pull_app.add_option("--jobs", pull->jobs, "files at a time (default: 4)")
      ->check(CLI::Range(int64_t{1}, int64_t{32}))
      ->type_name("N");

  CLI::App& quantize_app = command(parent, "quantize", "write a checkpoint in fewer bits",
                                   "vlm quantize llava-hf/llava-1.5-7b-hf llava-int4 --precision int4");
  auto quantize = target_of<QuantizeOptions>(quantize_app, parsed);
  quantize_app.add_option("model", quantize->model, "a folder, a hub id in the local cache, or \"default\"")
      ->type_name("MODEL")
      ->required();
  quantize_app.add_option("output", quantize->output, "new folder that receives the checkpoint")
      ->type_name("FOLDER")
      ->required();
  quantize_app.add_option("--precision", quantize->precision, "int8 (default) or int4")
      ->check(CLI::IsMember({"int8", "int4"}))
      ->type_name("P");
  quantize_app
      .add_option("--revision", quantize->revision, "branch, tag or commit of a hub id (default: main)")
      ->type_name("REV");
  quantize_app.add_option("--base", quantize->base, "of delta weights: the language model they are added to")
      ->type_name("MODEL");
  quantize_app
      .add_option("--calibrate", quantize->calibrate,
                  "round for what the model sees: a folder of pictures, or data.json as `vlm data make` "
                  "writes it")
      ->type_name("FILE|DIR");
  quantize_app
      .add_option("--calibrate-count", quantize->calibrate_count,
                  "at most so many of its pictures or questions (default: 128)")
      ->check(CLI::Range(int64_t{1}, int64_t{100000}))
      ->type_name("N");

  CLI::App& cache_app =
      command(parent, "cache", "quantised weights kept for the next start", "vlm cache list");
  cache_app.require_subcommand(1);
  CLI::App& cache_list = command(cache_app, "list", "what is kept, where, and how large", "vlm cache list");
  target_of<CacheOptions>(cache_list, parsed);
  CLI::App& cache_clear = command(cache_app, "clear", "remove all of it", "vlm cache clear");
  cache_clear.parse_complete_callback([&parsed] { parsed.options.command = CacheOptions{.clear = true}; });

  CLI::App& train_app = command(parent, "train", "train a model after a recipe",
                                "vlm train recipes/default.toml --set output.folder=runs/first");
  auto train = target_of<TrainOptions>(train_app, parsed);
  train_app.add_option("recipe", train->recipe, "a recipe (TOML)")->type_name("RECIPE")->required();
  add_list(train_app, "--set", train->overrides, "a value in place of the recipe's, as key=value")
      ->type_name("KEY=VALUE");
  train_app.add_flag("--restart", train->restart, "begin anew even where a run was interrupted");

  CLI::App& compose_app = command(parent, "compose", "join a tower, a connector and a language model",
                                  "vlm compose recipes/compose/siglip-perceiver-phi.toml joined");
  auto compose = target_of<ComposeOptions>(compose_app, parsed);
  compose_app.add_option("config", compose->config, "what is joined (TOML, docs/compose.md)")
      ->type_name("CONFIG")
      ->required();
  compose_app.add_option("output", compose->output, "new folder that receives the checkpoint")
      ->type_name("FOLDER")
      ->required();
  compose_app.add_option("--seed", compose->seed, "of the new weights (default: 0)")->type_name("N");

  CLI::App& data_app = command(parent, "data", "training data", "vlm data make scenes --count 1000");
  data_app.require_subcommand(1);
  CLI::App& make_app = command(data_app, "make", "draw scenes and ask about them",
                               "vlm data make scenes --count 1000 --seed 7");
  auto make = target_of<DataMakeOptions>(make_app, parsed);
  make_app.add_option("folder", make->folder, "receives images/ and data.json")
      ->type_name("FOLDER")
      ->required();
  make_app.add_option("--count", make->count, "pictures (default: 100)")
      ->check(CLI::Range(int64_t{1}, int64_t{100000000}))
      ->type_name("N");
  make_app.add_option("--seed", make->seed, "equal seeds give equal data (default: 0)")->type_name("N");
  make_app
      .add_option("--split", make->split,
                  "train (default), or test: scenes and words that training never sees")
      ->check(CLI::IsMember({"train", "test"}))
      ->type_name("SPLIT");
  make_app.add_option("--size", make->size_px, "width and height in pixels (default: 112)")
      ->check(CLI::Range(int64_t{16}, int64_t{4096}))
      ->type_name("PX");
}

}  // namespace

void add_commands(CLI::App& app, Parsed& parsed) {
  add_run(app, parsed);
  add_chat(app, parsed);
  add_vectors(app, parsed);
  add_looking(app, parsed);
  add_bench(app, parsed);
  add_making(app, parsed);
  CLI::App& completions = command(app, "completions", "completions for a shell: bash, zsh or fish",
                                  "source <(vlm completions bash)");
  completions.add_option("shell", parsed.text, "bash, zsh or fish")
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->type_name("SHELL")
      ->required();
  completions.parse_complete_callback([&parsed] { parsed.answer = FrontAnswer::completions; });
  CLI::App& manual = command(app, "manual", "the manual page", "vlm manual | man -l -");
  manual.parse_complete_callback([&parsed] { parsed.answer = FrontAnswer::manual; });
  for (CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    add_common(*sub, parsed.options);
    for (CLI::App* inner : sub->get_subcommands([](const CLI::App*) { return true; }))
      add_common(*inner, parsed.options);
  }
}

}  // namespace vlm::cli
