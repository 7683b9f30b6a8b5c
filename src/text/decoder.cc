#include "text/decoder.h"

#include "base/error.h"
#include "base/json.h"
#include "text/bpe.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace vlm {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  if (from.empty()) return text;
  size_t at = text.find(from);
  if (at == text.npos) return text;
  std::string replaced;
  size_t previous = 0;
  for (; at != text.npos; at = text.find(from, previous)) {
    replaced.append(text, previous, at - previous);
    replaced += to;
    previous = at + from.size();
  }
  return replaced + text.substr(previous);
}

std::string join(const std::vector<std::string>& tokens) {
  std::string text;
  for (const std::string& token : tokens) text += token;
  return text;
}

// The cleanup of the WordPiece and CTC decoders, which shortens "do not", too.
std::string clean_up_words(std::string text) {
  text = replace_all(std::move(text), " .", ".");
  text = replace_all(std::move(text), " ?", "?");
  text = replace_all(std::move(text), " !", "!");
  text = replace_all(std::move(text), " ,", ",");
  text = replace_all(std::move(text), " ' ", "'");
  text = replace_all(std::move(text), " n't", "n't");
  text = replace_all(std::move(text), " 'm", "'m");
  text = replace_all(std::move(text), " do not", " don't");
  text = replace_all(std::move(text), " 's", "'s");
  text = replace_all(std::move(text), " 've", "'ve");
  return replace_all(std::move(text), " 're", "'re");
}

Decoder each(std::function<std::string(std::string)> change) {
  return [change](std::vector<std::string>& tokens) {
    for (std::string& token : tokens) token = change(std::move(token));
  };
}

Decoder replace_matches(std::shared_ptr<const Regex> regex, std::string content) {
  return each([=](std::string token) {
    if (token.empty()) return token;
    std::string replaced;
    for (const Span& span : regex->find(token)) {
      if (span.is_match)
        replaced += content;
      else
        replaced.append(token, span.begin, span.end - span.begin);
    }
    return replaced;
  });
}

Decoder metaspace(std::string replacement, PrependScheme scheme) {
  return [=](std::vector<std::string>& tokens) {
    for (size_t index = 0; index < tokens.size(); ++index) {
      bool vanishes = index == 0 && scheme != PrependScheme::never;
      tokens[index] = replace_all(std::move(tokens[index]), replacement, vanishes ? "" : " ");
    }
  };
}

Decoder bpe(std::string suffix) {
  return [=](std::vector<std::string>& tokens) {
    for (size_t index = 0; index < tokens.size(); ++index)
      tokens[index] = replace_all(std::move(tokens[index]), suffix, index + 1 == tokens.size() ? "" : " ");
  };
}

Decoder ctc(std::string pad, std::string delimiter, bool cleanup) {
  return [=](std::vector<std::string>& tokens) {
    std::vector<std::string> kept;
    for (size_t index = 0; index < tokens.size(); ++index) {
      if (index > 0 && tokens[index] == tokens[index - 1]) continue;
      std::string token = replace_all(tokens[index], pad, "");
      if (cleanup) token = replace_all(clean_up_words(std::move(token)), delimiter, " ");
      if (!token.empty()) kept.push_back(std::move(token));
    }
    tokens = std::move(kept);
  };
}

}  // namespace

std::string clean_up_spaces(std::string text) {
  text = replace_all(std::move(text), " .", ".");
  text = replace_all(std::move(text), " ?", "?");
  text = replace_all(std::move(text), " !", "!");
  text = replace_all(std::move(text), " ,", ",");
  text = replace_all(std::move(text), " ' ", "'");
  text = replace_all(std::move(text), " n't", "n't");
  text = replace_all(std::move(text), " 'm", "'m");
  text = replace_all(std::move(text), " 's", "'s");
  text = replace_all(std::move(text), " 've", "'ve");
  return replace_all(std::move(text), " 're", "'re");
}

namespace decoders {

Decoder sequence(std::vector<Decoder> steps) {
  return [steps = std::move(steps)](std::vector<std::string>& tokens) {
    for (const Decoder& step : steps) step(tokens);
  };
}

Decoder byte_level() {
  return [](std::vector<std::string>& tokens) {
    std::string bytes;
    for (const std::string& token : tokens) {
      size_t before = bytes.size();
      for (size_t at = 0, length; at < token.size(); at += length) {
        int byte = letter_to_byte(decode_char(token, at, length));
        if (byte < 0) {  // not of the alphabet: the token stands for itself
          bytes.resize(before);
          bytes += token;
          break;
        }
        bytes += static_cast<char>(byte);
      }
    }
    tokens = {valid_utf8(bytes)};
  };
}

Decoder byte_fallback() {
  return [](std::vector<std::string>& tokens) {
    std::vector<std::string> texts;
    std::string bytes;
    auto flush = [&] {
      if (bytes.empty()) return;
      if (is_valid_utf8(bytes))
        texts.push_back(bytes);
      else
        texts.insert(texts.end(), bytes.size(), std::string(kReplacement));
      bytes.clear();
    };
    for (std::string& token : tokens) {
      int byte = byte_of_token(token);
      if (byte >= 0) {
        bytes += static_cast<char>(byte);
        continue;
      }
      flush();
      texts.push_back(std::move(token));
    }
    flush();
    tokens = std::move(texts);
  };
}

Decoder fuse() {
  return [](std::vector<std::string>& tokens) { tokens = {join(tokens)}; };
}

Decoder strip(std::string letter, int64_t start, int64_t stop) {
  return each([=](std::string token) {
    size_t begin = 0;
    size_t end = token.size();
    for (int64_t count = 0; count < start && token.compare(begin, letter.size(), letter) == 0 && begin < end;
         ++count)
      begin += letter.size();
    for (int64_t count = 0; count < stop && end >= begin + letter.size() &&
                            token.compare(end - letter.size(), letter.size(), letter) == 0;
         ++count)
      end -= letter.size();
    return token.substr(begin, end - begin);
  });
}

Decoder replace(const std::string& pattern, std::string content) {
  return replace_matches(Regex::literal(pattern), std::move(content));
}

Decoder word_piece(std::string prefix, bool cleanup) {
  return [=](std::vector<std::string>& tokens) {
    for (size_t index = 0; index < tokens.size(); ++index) {
      std::string& token = tokens[index];
      if (index > 0) {
        if (token.starts_with(prefix))
          token.erase(0, prefix.size());
        else
          token.insert(0, " ");
      }
      if (cleanup) token = clean_up_words(std::move(token));
    }
  };
}

}  // namespace decoders

Decoder read_decoder(const Json& value, int depth) {
  if (depth > kMaxSequenceDepth)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: decoders nested deeper than {}", value.path(), kMaxSequenceDepth);
  std::string type = value.at("type").as<std::string>();
  if (type == "Sequence") {
    Json list = value.at("decoders");
    std::vector<Decoder> steps;
    for (int64_t index = 0; index < list.size(); ++index)
      steps.push_back(read_decoder(list[index], depth + 1));
    return decoders::sequence(std::move(steps));
  }
  if (type == "ByteLevel") {
    value.ignore({"add_prefix_space", "trim_offsets", "use_regex"});
    return decoders::byte_level();
  }
  if (type == "ByteFallback") return decoders::byte_fallback();
  if (type == "Fuse") return decoders::fuse();
  if (type == "Strip") {
    std::string letter = value.at("content").as<std::string>();
    if (letter.empty() || char_length(letter[0]) != letter.size())
      fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
           "{}: expected one character in content, found \"{}\"", value.path(), letter);
    return decoders::strip(letter, value.integer("start", 0, 1 << 30, 0),
                           value.integer("stop", 0, 1 << 30, 0));
  }
  if (type == "Replace") {
    Json pattern = value.at("pattern");
    bool is_regex = pattern.is_object() && pattern.has("Regex");
    Json text = pattern.is_string() ? pattern : pattern.at(is_regex ? "Regex" : "String");
    auto regex = is_regex ? Regex::compile(text.as<std::string>(), text.path())
                          : Regex::literal(text.as<std::string>());
    return replace_matches(std::move(regex), value.at("content").as<std::string>());
  }
  if (type == "Metaspace") {
    value.ignore({"str_rep", "split"});
    return metaspace(value.at("replacement").as<std::string>(), read_prepend_scheme(value));
  }
  if (type == "WordPiece") return decoders::word_piece(value.get("prefix", "##"), value.get("cleanup", true));
  if (type == "BPEDecoder") return bpe(value.get("suffix", "</w>"));
  if (type == "CTC")
    return ctc(value.get("pad_token", "<pad>"), value.get("word_delimiter_token", "|"),
               value.get("cleanup", true));
  fail(ErrorKind::unsupported, "report the checkpoint's name", "{}: the decoder {} is not known",
       value.path(), type);
}

}  // namespace vlm
