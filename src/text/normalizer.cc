#include "text/normalizer.h"

#include <array>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace vlm {

namespace {

// Rules from a file may not blow a text up without bound.
constexpr size_t kMaxText = size_t{1} << 28;

void check_growth(const std::string& text) {
  if (text.size() > kMaxText)
    fail(ErrorKind::out_of_resources, "shorten the text, or compare the tokenizer with the published one",
         "the normalizer made more than {} bytes of the text", kMaxText);
}

// Keeps the characters that `keep` accepts, mapped by `map`.
template <typename Keep, typename Map>
void filter(Piece& piece, Keep&& keep, Map&& map) {
  std::string text;
  text.reserve(piece.text.size());
  bool first = true;
  for (size_t at = 0, length; at < piece.text.size(); at += length) {
    char32_t letter = decode_char(piece.text, at, length);
    if (keep(letter))
      append_char(text, map(letter));
    else if (first)
      piece.at_start = false;
    first = false;
  }
  piece.text = std::move(text);
}

char32_t same(char32_t letter) {
  return letter;
}

bool nmt_keeps(char32_t letter) {
  return !((letter >= 0x1 && letter <= 0x8) || letter == 0xb || (letter >= 0xe && letter <= 0x1f) ||
           letter == 0x7f || letter == 0x8f || letter == 0x9f);
}

char32_t nmt_maps(char32_t letter) {
  bool space = letter == 0x9 || letter == 0xa || letter == 0xc || letter == 0xd || letter == 0x1680 ||
               (letter >= 0x200b && letter <= 0x200f) || letter == 0x2028 || letter == 0x2029 ||
               letter == 0x2581 || letter == 0xfeff || letter == 0xfffd;
  return space ? U' ' : letter;
}

void strip(Piece& piece, bool left, bool right) {
  std::string& text = piece.text;
  size_t begin = 0;
  size_t end = text.size();
  size_t length;
  if (left)
    while (begin < end && is_white_space(decode_char(text, begin, length))) begin += length;
  while (right && end > begin) {
    size_t last = end - 1;
    while (last > begin && (text[last] & 0xc0) == 0x80) --last;
    if (!is_white_space(decode_char(text, last, length))) break;
    end = last;
  }
  if (begin > 0) piece.at_start = false;
  text = text.substr(begin, end - begin);
}

// A whole grapheme of less than six bytes is looked up as such, and its shortest rule replaces all of it;
// otherwise character by character. That is what the reference does, and checkpoints are used with it.
void precompiled(const Charsmap& charsmap, Piece& piece) {
  const std::string& text = piece.text;
  std::string normal;
  normal.reserve(text.size());
  std::vector<size_t> boundaries = grapheme_boundaries(text);
  for (size_t index = 0; index + 1 < boundaries.size(); ++index) {
    auto grapheme =
        std::string_view(text).substr(boundaries[index], boundaries[index + 1] - boundaries[index]);
    if (grapheme.size() < 6) {
      if (auto rule = charsmap.shortest(grapheme); rule.length > 0) {
        normal += rule.replacement;
        check_growth(normal);
        continue;
      }
    }
    for (size_t at = 0, length; at < grapheme.size(); at += length) {
      length = char_length(grapheme[at]);
      auto letter = grapheme.substr(at, length);
      auto rule = charsmap.shortest(letter);
      normal += rule.length > 0 ? rule.replacement : letter;
    }
  }
  piece.text = std::move(normal);
}

std::string read_pattern(const Json& value, bool& is_regex) {
  Json pattern = value.at("pattern");
  is_regex = pattern.is_object() && pattern.has("Regex");
  if (pattern.is_string()) return pattern.as<std::string>();
  return pattern.at(is_regex ? "Regex" : "String").as<std::string>();
}

}  // namespace

namespace normalizers {

Normalizer sequence(std::vector<Normalizer> steps) {
  return [steps = std::move(steps)](Piece& piece) {
    for (const Normalizer& step : steps) {
      step(piece);
      check_growth(piece.text);
    }
  };
}

Normalizer nfc() {
  return [](Piece& piece) { piece.text = normalize(piece.text, NormalForm::nfc); };
}

Normalizer lowercase() {
  return [](Piece& piece) { piece.text = lower_text(piece.text); };
}

Normalizer prepend(std::string prefix) {
  return [prefix = std::move(prefix)](Piece& piece) {
    if (!piece.text.empty()) piece.text.insert(0, prefix);
  };
}

namespace {

Normalizer replace_matches(std::shared_ptr<const Regex> regex, std::string content) {
  return [regex = std::move(regex), content = std::move(content)](Piece& piece) {
    if (piece.text.empty()) return;
    std::string text;
    text.reserve(piece.text.size());
    for (const Span& span : regex->find(piece.text)) {
      if (span.is_match)
        text += content;
      else
        text.append(piece.text, span.begin, span.end - span.begin);
      check_growth(text);
    }
    piece.text = std::move(text);
  };
}

}  // namespace

Normalizer replace(std::string pattern, std::string content) {
  return replace_matches(Regex::literal(pattern), std::move(content));
}

Normalizer replace_regex(const std::string& pattern, std::string content, const std::string& where) {
  return replace_matches(Regex::compile(pattern, where), std::move(content));
}

Normalizer bert(bool clean_text, bool handle_chinese_chars, bool strip_accents, bool lowercase) {
  return [=](Piece& piece) {
    if (clean_text) {
      auto keeps = [](char32_t letter) {
        bool layout = letter == '\t' || letter == '\n' || letter == '\r';
        return layout || !(letter == 0 || letter == 0xfffd || is_control(letter));
      };
      filter(piece, keeps, [](char32_t letter) { return is_white_space(letter) ? U' ' : letter; });
    }
    if (handle_chinese_chars) {
      std::string text;
      for (size_t at = 0, length; at < piece.text.size(); at += length) {
        char32_t letter = decode_char(piece.text, at, length);
        bool chinese = is_chinese(letter);
        if (chinese) text += ' ';
        text.append(piece.text, at, length);
        if (chinese) text += ' ';
      }
      piece.text = std::move(text);
    }
    if (strip_accents) {
      piece.text = normalize(piece.text, NormalForm::nfd);
      filter(
          piece, [](char32_t letter) { return !is_nonspacing_mark(letter); }, same);
    }
    if (lowercase) piece.text = lower_text(piece.text);
  };
}

Normalizer byte_level() {
  return [](Piece& piece) { piece.text = bytes_to_letters(piece.text); };
}

}  // namespace normalizers

Normalizer read_normalizer(const Json& value, int depth) {
  if (depth > kMaxSequenceDepth)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: normalizers nested deeper than {}", value.path(), kMaxSequenceDepth);
  std::string type = value.at("type").as<std::string>();
  if (type == "Sequence") {
    Json list = value.at("normalizers");
    std::vector<Normalizer> steps;
    for (int64_t index = 0; index < list.size(); ++index)
      steps.push_back(read_normalizer(list[index], depth + 1));
    return normalizers::sequence(std::move(steps));
  }
  auto form = [](NormalForm which) {
    return [which](Piece& piece) { piece.text = normalize(piece.text, which); };
  };
  if (type == "NFC") return form(NormalForm::nfc);
  if (type == "NFD") return form(NormalForm::nfd);
  if (type == "NFKC") return form(NormalForm::nfkc);
  if (type == "NFKD") return form(NormalForm::nfkd);
  if (type == "Lowercase") return normalizers::lowercase();
  if (type == "Strip") {
    bool left = value.get("strip_left", true);
    bool right = value.get("strip_right", true);
    return [left, right](Piece& piece) { strip(piece, left, right); };
  }
  if (type == "StripAccents")
    return [](Piece& piece) {
      filter(
          piece, [](char32_t letter) { return !is_mark(letter); }, same);
    };
  if (type == "Nmt") return [](Piece& piece) { filter(piece, nmt_keeps, nmt_maps); };
  if (type == "Prepend") return normalizers::prepend(value.at("prepend").as<std::string>());
  if (type == "Replace") {
    bool is_regex = false;
    std::string pattern = read_pattern(value, is_regex);
    std::string content = value.at("content").as<std::string>();
    return is_regex ? normalizers::replace_regex(pattern, content, value.path())
                    : normalizers::replace(pattern, content);
  }
  if (type == "Precompiled") {
    Json blob = value.find("precompiled_charsmap");
    if (blob.is_null()) return [](Piece&) {};
    auto charsmap =
        std::make_shared<const Charsmap>(decode_base64(blob.as<std::string>(), blob.path()), blob.path());
    return [charsmap](Piece& piece) { precompiled(*charsmap, piece); };
  }
  if (type == "Bert" || type == "BertNormalizer") {
    bool lowercase = value.get("lowercase", true);
    return normalizers::bert(value.get("clean_text", true), value.get("handle_chinese_chars", true),
                             value.get("strip_accents", lowercase), lowercase);
  }
  if (type == "ByteLevel") return normalizers::byte_level();
  fail(ErrorKind::unsupported, "report the checkpoint's name", "{}: the normalizer {} is not known",
       value.path(), type);
}

namespace {

struct ByteAlphabet {
  std::array<std::string, 256> letters;
  std::array<int, 0x144> bytes;

  ByteAlphabet() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      char32_t letter = printable ? static_cast<char32_t>(byte) : next++;
      append_char(letters[static_cast<size_t>(byte)], letter);
      bytes[letter] = byte;
    }
  }
};

const ByteAlphabet& byte_alphabet() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

}  // namespace

std::string bytes_to_letters(std::string_view text) {
  const auto& letters = byte_alphabet().letters;
  std::string mapped;
  mapped.reserve(text.size() * 2);
  for (char byte : text) mapped += letters[static_cast<unsigned char>(byte)];
  return mapped;
}

int letter_to_byte(char32_t letter) {
  const auto& bytes = byte_alphabet().bytes;
  return letter < bytes.size() ? bytes[letter] : -1;
}

}  // namespace vlm
