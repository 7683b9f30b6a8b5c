// Interactive conversation with line editing and history.
#include <histedit.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "app/cli/commands/answers.h"
#include "app/cli/commands/models.h"
#include "app/cli/commands/pictures.h"
#include "base/files.h"
#include "engine/boundary.h"

namespace vlm::cli {

namespace {

constexpr char kHelp[] =
    "/image FILE   show a picture with the next question\n"
    "/video FILE   show a video, or a folder of its frames, with the next question\n"
    "/clear        forget the conversation\n"
    "/save FILE    write the conversation as JSON\n"
    "/stats        print times and rates after each answer, or stop it\n"
    "/help         show this\n"
    "/quit         leave; Ctrl-D does too. Ctrl-C stops an answer.\n";

char* prompt_of(EditLine*) {
  static char text[] = "> ";
  return text;
}

// Lines from the terminal, edited, with a history that outlives the program; or plain lines from a pipe.
class LineReader {
 public:
  explicit LineReader(bool is_terminal) {
    if (!is_terminal) return;
    editor_ = el_init("vlm", stdin, stdout, stderr);
    history_ = history_init();
    if (!editor_ || !history_) return;
    HistEvent event;
    history(history_, &event, H_SETSIZE, 1000);
    history(history_, &event, H_SETUNIQUE, 1);
    if (const char* home = std::getenv("HOME"))
      history_file_ = (std::filesystem::path(home) / ".vlm_history").string();
    history(history_, &event, H_LOAD, history_file_.c_str());
    el_set(editor_, EL_PROMPT, prompt_of);
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_HIST, history, history_);
    el_set(editor_, EL_SIGNAL, 0);
    el_source(editor_, nullptr);
  }
  ~LineReader() {
    HistEvent event;
    if (history_ && !history_file_.empty()) history(history_, &event, H_SAVE, history_file_.c_str());
    if (history_) history_end(history_);
    if (editor_) el_end(editor_);
  }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  std::optional<std::string> next() {
    if (!editor_) {
      std::string line;
      if (!std::getline(std::cin, line)) return std::nullopt;
      return line;
    }
    for (;;) {
      int count = 0;
      const char* text = el_gets(editor_, &count);
      if (!text && interrupted.exchange(false)) {  // Ctrl-C at the prompt drops the line
        print("\n");
        std::cin.clear();
        clearerr(stdin);
        el_reset(editor_);
        continue;
      }
      if (!text || count <= 0) return std::nullopt;
      std::string line(text, static_cast<size_t>(count));
      while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
      HistEvent event;
      if (!line.empty()) history(history_, &event, H_ENTER, line.c_str());
      return line;
    }
  }

 private:
  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
  std::string history_file_;
};

class Conversation {
 public:
  Conversation(const ChatOptions& chat, const Context& context)
      : chat_(chat), context_(context), shows_stats_(chat.stats) {
    for (const std::string& image : chat.images) add_picture(image);
    for (const std::string& video : chat.videos) add_video(video);
    loaded_ = open_model(chat.model);
    need<Generator>(*loaded_, "does not answer questions");
    session_.emplace(loaded_, std::make_shared<FeatureCache>());
    options_ = answer_options(chat.answer, loaded_->checkpoint);
    options_.reads_notation = as<AnswerReader>(*loaded_->model) != nullptr;
    clear_messages();
  }

  const LoadedModel& loaded() const { return *loaded_; }

  // False ends the conversation.
  bool take(const std::string& line) {
    if (line.starts_with("/")) return command(line);
    if (line.find_first_not_of(" \t") != std::string::npos) ask(line);
    return true;
  }

 private:
  void add_picture(const std::string& name) {
    pending_.push_back(read_picture(name));
    pending_names_.push_back(name);
  }

  void add_video(const std::string& name) {
    pending_videos_.push_back(read_video(name));
    pending_video_names_.push_back(name);
  }

  void drop_pending() {
    pending_.clear(), pending_names_.clear();
    pending_videos_.clear(), pending_video_names_.clear();
  }

  void clear_messages() {
    request_ = {};
    picture_names_.clear(), video_names_.clear();
    if (!chat_.system_prompt.empty())
      request_.messages.push_back(ChatMessage::text("system", chat_.system_prompt));
  }

  bool command(const std::string& line) {
    size_t space = line.find_first_of(" \t");
    std::string word = line.substr(0, space), rest;
    if (space != std::string::npos)
      if (size_t begin = line.find_first_not_of(" \t", space); begin != std::string::npos)
        rest = line.substr(begin);
    while (!rest.empty() && rest.back() == ' ') rest.pop_back();
    if (word == "/quit" || word == "/exit") return false;
    if (word == "/help") {
      print(kHelp);
    } else if (word == "/image") {
      if (rest.empty())
        fail(ErrorKind::bad_request, "write /image FILE", "/image needs the name of a picture");
      add_picture(rest);
      log(LogLevel::info, "{}: {} x {} pixels, goes with the next question", rest, pending_.back().width,
          pending_.back().height);
    } else if (word == "/video") {
      if (rest.empty()) fail(ErrorKind::bad_request, "write /video FILE", "/video needs the name of a video");
      add_video(rest);
      log(LogLevel::info, "{}: {} frames, goes with the next question", rest,
          pending_videos_.back().num_frames());
    } else if (word == "/clear") {
      clear_messages();
      drop_pending();
      session_->forget();
    } else if (word == "/save") {
      if (rest.empty()) fail(ErrorKind::bad_request, "write /save FILE", "/save needs the name of a file");
      write_text(rest, conversation_json().dump(2) + "\n");
      log(LogLevel::info, "saved to {}", rest);
    } else if (word == "/stats") {
      shows_stats_ = !shows_stats_;
    } else {
      std::string near =
          nearest_word(word, {"/image", "/video", "/clear", "/save", "/stats", "/help", "/quit"});
      fail(ErrorKind::bad_request, near.empty() ? "/help lists them" : "did you mean " + near + "?",
           "there is no {}", word);
    }
    return true;
  }

  void ask(const std::string& question) {
    Request request = request_;
    request.messages.push_back(user_message(pending_.size(), pending_videos_.size(), question));
    request.images.insert(request.images.end(), pending_.begin(), pending_.end());
    request.videos.insert(request.videos.end(), pending_videos_.begin(), pending_videos_.end());
    interrupted = false;
    size_t told = 0;
    Answer answer = session_->answer(request, options_, [&](const std::string& text) {
      print(text);
      told += text.size();
    });
    print(options_.reads_notation ? rest_of(session_->read(answer, request), told)
                                  : answer.text.substr(told) + "\n");
    interrupted = false;
    // A question that failed leaves no trace; one that was answered, even in part, belongs to the
    // conversation.
    request.messages.push_back(ChatMessage::text("assistant", answer.text));
    request_ = std::move(request);
    picture_names_.insert(picture_names_.end(), pending_names_.begin(), pending_names_.end());
    video_names_.insert(video_names_.end(), pending_video_names_.begin(), pending_video_names_.end());
    drop_pending();
    if (shows_stats_) write_all(context_.terminal.err.descriptor, stats_text(answer.times) + "\n");
  }

  nlohmann::ordered_json conversation_json() const {
    nlohmann::ordered_json messages = nlohmann::ordered_json::array();
    size_t picture = 0, video = 0;
    for (const ChatMessage& message : request_.messages) {
      nlohmann::ordered_json content = nlohmann::ordered_json::array();
      for (const ContentPart& part : message.content) {
        if (part.kind == ContentPart::Kind::image)
          content.push_back({{"type", "image"}, {"path", picture_names_.at(picture++)}});
        else if (part.kind == ContentPart::Kind::video)
          content.push_back({{"type", "video"}, {"path", video_names_.at(video++)}});
        else
          content.push_back({{"type", "text"}, {"text", part.text}});
      }
      messages.push_back({{"role", message.role}, {"content", content}});
    }
    return {{"model", loaded_->checkpoint.name}, {"messages", messages}};
  }

  const ChatOptions& chat_;
  const Context& context_;
  AnswerOptions options_;
  bool shows_stats_;
  std::shared_ptr<const LoadedModel> loaded_;
  std::optional<Session> session_;
  Request request_;  // what was said so far
  std::vector<std::string> picture_names_, video_names_;
  std::vector<Image> pending_;  // go with the next question
  std::vector<Video> pending_videos_;
  std::vector<std::string> pending_names_, pending_video_names_;
};

}  // namespace

int run_command(const ChatOptions& chat, const Context& context) {
  Conversation conversation(chat, context);
  bool is_terminal = ::isatty(STDIN_FILENO) == 1 && context.terminal.out.is_terminal;
  if (is_terminal)
    log(LogLevel::info, "{} ({}). /help lists the commands.", conversation.loaded().checkpoint.name,
        conversation.loaded().system->slug);
  catch_interrupts(Interrupts::never_end);
  LineReader reader(is_terminal);
  int code = kExitOk;
  while (std::optional<std::string> line = reader.next()) {
    bool goes_on = true;
    int result = guarded(context.terminal, [&] {
      goes_on = with_errors([&] { return conversation.take(*line); });
      return kExitOk;
    });
    if (result != kExitOk) code = result;
    if (!goes_on) break;
  }
  // At a terminal the user has seen what went wrong; a script needs to know.
  return is_terminal ? kExitOk : code;
}

}  // namespace vlm::cli
