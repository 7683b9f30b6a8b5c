#include <filesystem>
#include <set>

#include "app/cli/commands/answers.h"
#include "app/cli/commands/choices.h"
#include "app/cli/commands/models.h"
#include "app/cli/commands/pictures.h"
#include "app/cli/commands/regions.h"
#include "base/files.h"
#include "media/draw.h"
#include "weights/writer.h"

namespace vlm::cli {

namespace {

// What encoding and prefill compute on the way, by the names of docs/reference-cases.md.
class TraceFile final : public trace::Sink {
 public:
  void record(const std::string& name, const Tensor& tensor) override {
    if (names_.insert(name).second) tensors_.emplace_back(name, tensor.detach().contiguous().clone());
  }
  void write(const std::filesystem::path& folder) const {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error)
      fail(ErrorKind::bad_request, "choose a folder that can be written", "{}: cannot be made ({})",
           folder.string(), error.message());
    write_safetensors(folder / "trace.safetensors", tensors_);
    log(LogLevel::info, "{} tensors written to {}", tensors_.size(), (folder / "trace.safetensors").string());
  }

 private:
  std::set<std::string> names_;
  NamedTensors tensors_;
};

// Encodes and prefills once more than needed; pictures are known to the session's cache afterwards.
void trace_prompt(const Generator& generator, const Request& request, FeatureCache& cache,
                  TraceFile& traced) {
  at::NoGradGuard no_grad;
  trace::Scope scope(&traced);
  Prompt prompt = generator.prepare(request);
  traced.record("input_ids", ids_tensor(prompt.ids));
  for (const auto& [name, tensor] : media_tensors(prompt)) traced.record(name, tensor);
  DecodeTimes times;
  std::vector<Tensor> features = encode_media(generator, prompt, &cache, times);
  if (!features.empty()) traced.record("image_features", at::cat(features));
  Sequence sequence;
  traced.record("logits", generator.prefill(prompt, features, sequence, /*all_rows=*/true));
}

[[noreturn]] void fail_without_question() {
  fail(ErrorKind::bad_request, "put it behind the options, in quotes: \"What is this?\"",
       "no question was given");
}

// The words behind the model: pictures and at last the question; "" when there are pictures alone.
std::string take_question(const RunOptions& run, std::vector<std::string>& images) {
  auto is_picture = [](const std::string& word) {
    return is_address(word) || std::filesystem::is_regular_file(word);
  };
  if (run.words.empty() && run.task.empty() && run.images.empty() && run.videos.empty())
    fail_without_question();
  if (run.words.empty()) return "";
  for (size_t idx = 0; idx + 1 < run.words.size(); ++idx) {
    if (!is_picture(run.words[idx]))
      fail(ErrorKind::bad_request, "put the question into quotes; pictures come with --image",
           "\"{}\" is neither a picture nor the whole question", run.words[idx]);
    images.push_back(run.words[idx]);
  }
  const std::string& last = run.words.back();
  if (is_picture(last)) {
    images.push_back(last);
    return "";
  }
  if (last != "-") return last;
  for (const std::string& image : images)
    if (image == "-")
      fail(ErrorKind::bad_request, "give one of them as a file or in quotes",
           "picture and question cannot both come from standard input");
  std::string question = read_standard_input(int64_t{1} << 24);
  while (!question.empty() && question.back() == '\n') question.pop_back();
  return question;
}

// `option`: for messages.
void write_picture(const char* option, const std::string& file, const Image& picture) {
  std::string ending = std::filesystem::path(file).extension().string();
  if (ending == ".jpg" || ending == ".jpeg")
    write_jpeg(file, picture);
  else if (ending == ".png")
    write_png(file, picture);
  else
    fail(ErrorKind::bad_request, "let the name end in .png or .jpg", "{} {}: unknown kind of picture", option,
         file);
}

void need_picture(const char* option, const std::string& file, const std::vector<std::string>& images) {
  if (!file.empty() && images.empty())
    fail(ErrorKind::bad_request, fmt::format("give --image, or leave {} out", option),
         "{} needs a picture to {}", option, option == std::string("--picture") ? "write on" : "draw on");
}

Request request_of(const RunOptions& run, const std::string& question,
                   const std::vector<std::string>& names) {
  Request request;
  request.images = read_pictures(names);
  request.videos = read_videos(run.videos);
  request.task_prompt = run.task;
  request.regions = read_regions(run.boxes, run.points, run.masks, request.images);
  if (run.raw) {
    if (!run.system_prompt.empty())
      fail(ErrorKind::bad_request, "write it into the prompt",
           "--system-prompt has no place in a --raw prompt");
    request.prompt = question;
    return request;
  }
  if (!run.system_prompt.empty()) request.messages.push_back(ChatMessage::text("system", run.system_prompt));
  request.messages.push_back(user_message(names.size(), run.videos.size(), question));
  return request;
}

void print_answer(const LoadedModel& loaded, const std::string& question, const Request& request,
                  const AnswerOptions& options, const Answer& answer, const ParsedAnswer& read) {
  nlohmann::ordered_json json{{"model", loaded.checkpoint.name},
                              {"system", loaded.system->slug},
                              {"precision", precision_name(loaded.weights->options().precision)},
                              {"question", question},
                              {"answer", answer.text},
                              {"text", read.text},
                              {"regions", regions_json(read.regions, request.images)},
                              {"calls", calls_json(read.calls)},
                              {"finish", finish_name(answer.finish)},
                              {"ids", answer.ids},
                              {"sampling", sampling_json(options)},
                              {"usage", usage_json(answer.times)},
                              {"stats", stats_json(answer.times)}};
  if (const auto* reader = as<AnswerReader>(*loaded.model))
    json["notation"] = reader->readable_text(loaded.checkpoint.tokens(), answer.ids, request);
  print_json(json);
}

}  // namespace

int run_command(const RunOptions& run, const Context& context) {
  std::vector<std::string> names = run.images;
  std::string question = take_question(run, names);
  need_picture("--picture", run.picture, names);
  need_picture("--annotate", run.annotate, names);
  Request request = request_of(run, question, names);

  std::shared_ptr<const LoadedModel> loaded = open_model(run.model);
  const Generator& generator = need<Generator>(*loaded, "does not answer questions");
  if (question.empty() && run.task.empty() && generator.needs_question()) fail_without_question();
  if (!run.choices.empty()) {
    print_choices(*loaded, request, run.choices, context);
    return kExitOk;
  }
  AnswerOptions options = answer_options(run.answer, loaded->checkpoint);
  auto cache = std::make_shared<FeatureCache>();
  Session session(loaded, cache);
  catch_interrupts();
  TraceFile traced;
  if (!run.trace_folder.empty()) trace_prompt(generator, request, *cache, traced);
  // A notation of places is for programs: people get the text around it, then what it says.
  bool reads = as<AnswerReader>(*loaded->model) && !run.raw;
  options.reads_notation = reads;
  // Of a hundred pictures the pixels would take more memory than what is computed from them.
  options.on_prepared = [&] {
    const bool is_drawn = !run.picture.empty() || !run.annotate.empty();
    for (size_t idx = is_drawn ? 1 : 0; idx < request.images.size(); ++idx)
      Pixels().swap(request.images[idx].pixels);
  };
  size_t told = 0;
  Answer answer = session.answer(request, options, [&](const std::string& text) {
    if (context.options.json) return;
    print(text);
    told += text.size();
  });
  if (!run.trace_folder.empty()) {
    traced.record("generated_ids", ids_tensor(answer.ids));
    traced.write(run.trace_folder);
  }
  ParsedAnswer read = session.read(answer, request);
  if (context.options.json)
    print_answer(*loaded, question, request, options, answer, read);
  else if (reads)
    print(rest_of(read, told));
  else
    print(answer.text.substr(told) + "\n");
  if (!run.picture.empty())
    write_picture("--picture", run.picture,
                  with_caption(request.images.front(), question + "\n" + (reads ? read.text : answer.text)));
  if (!run.annotate.empty())
    write_picture("--annotate", run.annotate, draw_regions(request.images.front(), read.regions, 0));
  if (run.stats && !context.options.json)
    write_all(context.terminal.err.descriptor, stats_text(answer.times) + "\n");
  if (answer.finish == Finish::length)
    log(LogLevel::debug, "the answer was cut after {} tokens (--max-new-tokens)", answer.ids.size());
  return answer.finish == Finish::cancelled ? kExitInterrupted : kExitOk;
}

}  // namespace vlm::cli
