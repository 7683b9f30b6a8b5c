#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <pcre2.h>

#include "base/error.h"
#include "text/unicode.h"

namespace vlm {

namespace {

constexpr uint32_t kMatchLimit = 50'000'000;
constexpr size_t kMaxPattern = 1 << 16;

// Scratch space of the matcher, one for each thread.
struct Scratch {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 << 10, 1 << 20, nullptr);

  Scratch() {
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, 64 << 10);  // KiB
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Scratch() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

Scratch& scratch() {
  thread_local Scratch one;
  return one;
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

std::shared_ptr<const Regex> Regex::compile(std::string_view pattern, const std::string& where) {
  if (pattern.size() > kMaxPattern)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: the pattern has {} bytes, at most {} are read", where, pattern.size(), kMaxPattern);
  std::string translated = translate_pattern(pattern, where);
  std::shared_ptr<Regex> regex(new Regex);
  regex->where_ = where;
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  size_t offset = 0;
  pcre2_code* code = pcre2_compile(bytes_of(translated), translated.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                                   &offset, context.get());
  if (code == nullptr) {
    char message[200] = "";
    pcre2_get_error_message(error, reinterpret_cast<unsigned char*>(message), sizeof message);
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: the pattern {} is not understood: {}", where, pattern, message);
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it the interpreter matches
  regex->code_ = code;
  return regex;
}

std::shared_ptr<const Regex> Regex::literal(std::string_view text) {
  if (text.empty()) return compile("", "(empty)");
  std::shared_ptr<Regex> regex(new Regex);
  regex->literal_ = text;
  return regex;
}

Regex::~Regex() {
  pcre2_code_free(static_cast<pcre2_code*>(code_));
}

bool Regex::search(std::string_view text, size_t from, size_t& begin, size_t& end) const {
  if (code_ == nullptr) {
    begin = text.find(literal_, from);
    end = begin + literal_.size();
    return begin != text.npos;
  }
  Scratch& space = scratch();
  const auto* code = static_cast<const pcre2_code*>(code_);
  int result =
      pcre2_match(code, bytes_of(text), text.size(), from, PCRE2_NO_UTF_CHECK, space.data, space.context);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT)
    result = pcre2_match(code, bytes_of(text), text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         space.data, space.context);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0)
    fail(ErrorKind::bad_checkpoint, "the pattern is not one that published tokenizers use; report the name",
         "{}: the pattern gave up at byte {} of a text of {} (matcher error {})", where_, from, text.size(),
         result);
  const size_t* ends = pcre2_get_ovector_pointer(space.data);
  begin = ends[0];
  end = ends[1];
  return begin <= end;  // \K in a look-behind can turn them around
}

std::vector<Span> Regex::find(std::string_view text) const {
  std::vector<Span> spans;
  size_t previous = 0;
  size_t from = 0;
  size_t last_match = text.npos;
  size_t begin, end;
  while (from <= text.size() && search(text, from, begin, end)) {
    if (begin < previous) break;
    // An empty match right behind the last match does not count.
    if (begin == end && begin == last_match) {
      if (from >= text.size()) break;
      from += char_length(text[from]);
      continue;
    }
    if (begin > previous) spans.push_back({previous, begin, false});
    spans.push_back({begin, end, true});
    previous = from = last_match = end;
  }
  if (previous < text.size()) spans.push_back({previous, text.size(), false});
  return spans;
}

}  // namespace vlm
