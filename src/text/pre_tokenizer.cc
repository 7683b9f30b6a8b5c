#include "text/pre_tokenizer.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace vlm {

namespace {

// Which spans stay together under a behaviour; `removed` drops the matches.
std::vector<Span> arrange(std::vector<Span> spans, SplitBehavior behavior) {
  std::vector<Span> kept;
  kept.reserve(spans.size());
  bool previous = false;
  switch (behavior) {
    case SplitBehavior::isolated:
      return spans;
    case SplitBehavior::removed:
      for (const Span& span : spans)
        if (!span.is_match) kept.push_back(span);
      return kept;
    case SplitBehavior::contiguous:
      for (const Span& span : spans) {
        if (span.is_match == previous && !kept.empty())
          kept.back().end = span.end;
        else
          kept.push_back(span);
        previous = span.is_match;
      }
      return kept;
    case SplitBehavior::merged_with_previous:
      for (const Span& span : spans) {
        if (span.is_match && !previous && !kept.empty())
          kept.back().end = span.end;
        else
          kept.push_back(span);
        previous = span.is_match;
      }
      return kept;
    case SplitBehavior::merged_with_next:
      for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
        if (span->is_match && !previous && !kept.empty())
          kept.back().begin = span->begin;
        else
          kept.push_back(*span);
        previous = span->is_match;
      }
      std::reverse(kept.begin(), kept.end());
      return kept;
  }
  return kept;
}

// Replaces every piece by the pieces that `cut` makes of it; empty ones are dropped.
template <typename Cut>
void split_pieces(std::vector<Piece>& pieces, Cut&& cut) {
  std::vector<Piece> parts;
  parts.reserve(pieces.size());
  for (Piece& piece : pieces) {
    for (const Span& span : cut(piece)) {
      if (span.begin == span.end) continue;
      if (span.begin == 0 && span.end == piece.text.size()) {
        parts.push_back(piece);
        break;
      }
      parts.push_back(
          {piece.text.substr(span.begin, span.end - span.begin), piece.at_start && span.begin == 0});
    }
  }
  pieces = std::move(parts);
}

// Spans of characters that `matches` accepts, one by one.
template <typename Matches>
std::vector<Span> char_spans(std::string_view text, Matches&& matches) {
  std::vector<Span> spans;
  size_t previous = 0;
  for (size_t at = 0, length; at < text.size(); at += length) {
    if (!matches(decode_char(text, at, length))) continue;
    if (previous < at) spans.push_back({previous, at, false});
    previous = at + length;
    spans.push_back({at, previous, true});
  }
  if (previous < text.size()) spans.push_back({previous, text.size(), false});
  return spans;
}

template <typename Matches>
PreTokenizer split_chars(Matches matches, SplitBehavior behavior) {
  return [=](std::vector<Piece>& pieces) {
    split_pieces(pieces,
                 [&](const Piece& piece) { return arrange(char_spans(piece.text, matches), behavior); });
  };
}

// \w+|[^\w\s]+
PreTokenizer words_and_symbols() {
  return [](std::vector<Piece>& pieces) {
    split_pieces(pieces, [](const Piece& piece) {
      std::vector<Span> spans;
      int last = 0;  // 0 white space, 1 word, 2 other
      for (size_t at = 0, length; at < piece.text.size(); at += length) {
        char32_t letter = decode_char(piece.text, at, length);
        int kind = is_word(letter) ? 1 : is_white_space(letter) ? 0 : 2;
        if (kind != 0 && kind == last)
          spans.back().end = at + length;
        else if (kind != 0)
          spans.push_back({at, at + length, false});
        last = kind;
      }
      return spans;
    });
  };
}

PreTokenizer fixed_length(int64_t length) {
  return [length](std::vector<Piece>& pieces) {
    split_pieces(pieces, [length](const Piece& piece) {
      std::vector<Span> spans;
      int64_t count = 0;
      for (size_t at = 0; at < piece.text.size(); at += char_length(piece.text[at])) {
        if (count++ % length == 0) spans.push_back({at, at, false});
        spans.back().end = at + char_length(piece.text[at]);
      }
      return spans;
    });
  };
}

SplitBehavior read_behavior(const Json& value, SplitBehavior fallback) {
  Json name = value.find("behavior");
  if (name.is_null()) return fallback;
  std::string text = name.as<std::string>();
  if (text == "Removed") return SplitBehavior::removed;
  if (text == "Isolated") return SplitBehavior::isolated;
  if (text == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (text == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (text == "Contiguous") return SplitBehavior::contiguous;
  fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
       "{}: \"{}\" is no split behavior", name.path(), text);
}

std::string one_char(const Json& value) {
  std::string text = value.as<std::string>();
  if (text.empty() || char_length(text[0]) != text.size())
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: expected one character, found \"{}\"", value.path(), text);
  return text;
}

PreTokenizer split_regex(std::shared_ptr<const Regex> regex, SplitBehavior behavior, bool invert) {
  return [=](std::vector<Piece>& pieces) {
    split_pieces(pieces, [&](const Piece& piece) {
      std::vector<Span> spans = regex->find(piece.text);
      if (invert)
        for (Span& span : spans) span.is_match = !span.is_match;
      return arrange(std::move(spans), behavior);
    });
  };
}

}  // namespace

namespace pre_tokenizers {

PreTokenizer sequence(std::vector<PreTokenizer> steps) {
  return [steps = std::move(steps)](std::vector<Piece>& pieces) {
    for (const PreTokenizer& step : steps) step(pieces);
  };
}

PreTokenizer split(const std::string& pattern, SplitBehavior behavior, bool invert,
                   const std::string& where) {
  return split_regex(Regex::compile(pattern, where), behavior, invert);
}

PreTokenizer byte_level(bool add_prefix_space, bool use_regex) {
  std::shared_ptr<const Regex> regex;
  if (use_regex)
    regex = Regex::compile(
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", "ByteLevel");
  return [=](std::vector<Piece>& pieces) {
    for (Piece& piece : pieces)
      if (add_prefix_space && piece.text[0] != ' ') piece.text.insert(0, " ");
    if (regex != nullptr) split_pieces(pieces, [&](const Piece& piece) { return regex->find(piece.text); });
    for (Piece& piece : pieces) piece.text = bytes_to_letters(piece.text);
  };
}

PreTokenizer metaspace(std::string replacement, PrependScheme scheme, bool split) {
  auto replace = normalizers::replace(" ", replacement);
  return [=](std::vector<Piece>& pieces) {
    for (Piece& piece : pieces) {
      replace(piece);
      bool wanted = scheme == PrependScheme::always || (scheme == PrependScheme::first && piece.at_start);
      if (wanted && !piece.text.starts_with(replacement)) piece.text.insert(0, replacement);
    }
    if (!split) return;
    auto regex = Regex::literal(replacement);
    split_pieces(pieces, [&](const Piece& piece) {
      return arrange(regex->find(piece.text), SplitBehavior::merged_with_next);
    });
  };
}

PreTokenizer bert() {
  return sequence({split_chars(is_white_space, SplitBehavior::removed),
                   split_chars(is_punctuation, SplitBehavior::isolated)});
}

PreTokenizer digits(bool individual) {
  return split_chars(is_numeric, individual ? SplitBehavior::isolated : SplitBehavior::contiguous);
}

}  // namespace pre_tokenizers

PrependScheme read_prepend_scheme(const Json& metaspace) {
  Json scheme = metaspace.find("prepend_scheme");
  std::string text = scheme.is_null() ? "always" : scheme.as<std::string>();
  if (!metaspace.get("add_prefix_space", true)) text = "never";
  if (text == "always") return PrependScheme::always;
  if (text == "first") return PrependScheme::first;
  if (text == "never") return PrependScheme::never;
  fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
       "{}: \"{}\" is no prepend scheme", scheme.path(), text);
}

PreTokenizer read_pre_tokenizer(const Json& value, int depth) {
  if (depth > kMaxSequenceDepth)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: pre-tokenizers nested deeper than {}", value.path(), kMaxSequenceDepth);
  std::string type = value.at("type").as<std::string>();
  if (type == "Sequence") {
    Json list = value.at("pretokenizers");
    std::vector<PreTokenizer> steps;
    for (int64_t index = 0; index < list.size(); ++index)
      steps.push_back(read_pre_tokenizer(list[index], depth + 1));
    return pre_tokenizers::sequence(std::move(steps));
  }
  if (type == "ByteLevel") {
    value.ignore({"trim_offsets"});
    return pre_tokenizers::byte_level(value.get("add_prefix_space", true), value.get("use_regex", true));
  }
  if (type == "Metaspace") {
    value.ignore({"str_rep"});
    return pre_tokenizers::metaspace(one_char(value.at("replacement")), read_prepend_scheme(value),
                                     value.get("split", true));
  }
  if (type == "Whitespace") return words_and_symbols();
  if (type == "WhitespaceSplit") return split_chars(is_white_space, SplitBehavior::removed);
  if (type == "BertPreTokenizer") return pre_tokenizers::bert();
  if (type == "Punctuation")
    return split_chars(is_punctuation, read_behavior(value, SplitBehavior::isolated));
  if (type == "Digits") return pre_tokenizers::digits(value.get("individual_digits", false));
  if (type == "CharDelimiterSplit" || type == "Delimiter")
    return split_regex(Regex::literal(one_char(value.at("delimiter"))), SplitBehavior::removed, false);
  if (type == "UnicodeScripts") return pre_tokenizers::unicode_scripts();
  if (type == "FixedLength") return fixed_length(value.integer("length", 1, 1 << 20, 5));
  if (type == "Split") {
    Json pattern = value.at("pattern");
    bool is_regex = pattern.is_object() && pattern.has("Regex");
    Json text = pattern.is_string() ? pattern : pattern.at(is_regex ? "Regex" : "String");
    auto regex = is_regex ? Regex::compile(text.as<std::string>(), text.path())
                          : Regex::literal(text.as<std::string>());
    return split_regex(std::move(regex), read_behavior(value, SplitBehavior::isolated),
                       value.get("invert", false));
  }
  fail(ErrorKind::unsupported, "report the checkpoint's name", "{}: the pre-tokenizer {} is not known",
       value.path(), type);
}

}  // namespace vlm
