#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "text/regex.h"

namespace vlm {

namespace {

constexpr const char* kSpace =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{"
    "3000}";
constexpr const char* kNotSpace =
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}";
// Letters, marks, decimal digits, connectors, the numbers of Latin-1, and the circled letters.
constexpr const char* kWord =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}\\x{24b6}-\\x{24e9}"
    "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}";
constexpr const char* kAnyChar = "[\\x{0}-\\x{10ffff}]";
constexpr int kMaxNesting = 50;

// Exactly one character: the union of what stands between brackets and of whole expressions.
struct CharSet {
  std::string items;
  std::vector<std::string> parts;

  void add(const CharSet& other) {
    items += other.items;
    parts.insert(parts.end(), other.parts.begin(), other.parts.end());
  }
  bool empty() const { return items.empty() && parts.empty(); }
  std::string pattern(bool negated) const {
    if (parts.empty()) return (negated ? "[^" : "[") + items + "]";
    std::string all = "(?:";
    for (const std::string& part : parts) all += part + "|";
    if (items.empty())
      all.back() = ')';
    else
      all += "[" + items + "])";
    return negated ? "(?:(?!" + all + ")" + kAnyChar + ")" : all;
  }
};

CharSet items_set(std::string items) {
  return {std::move(items), {}};
}

CharSet complement(const CharSet& set) {
  if (set.parts.empty() && set.items == kSpace) return items_set(kNotSpace);
  return {"", {set.pattern(true)}};
}

std::string plain_name(std::string_view name) {
  std::string plain;
  for (char letter : name)
    if (letter != '_' && letter != ' ' && letter != '-')
      plain += static_cast<char>(letter >= 'A' && letter <= 'Z' ? letter + 32 : letter);
  return plain;
}

// Names that PCRE2 lacks or means otherwise; the rest are general categories and scripts, which it knows.
std::optional<std::string> known_property(const std::string& name) {
  static const std::map<std::string, std::string> known = {
      {"alpha", "\\p{Alphabetic}"},
      {"alphabetic", "\\p{Alphabetic}"},
      {"alnum", "\\p{Alphabetic}\\p{Nd}"},
      {"digit", "\\p{Nd}"},
      {"space", kSpace},
      {"whitespace", kSpace},
      {"blank", "\\p{Zs}\\x{9}"},
      {"cntrl", "\\p{Cc}"},
      {"upper", "\\p{Uppercase}"},
      {"uppercase", "\\p{Uppercase}"},
      {"lower", "\\p{Lowercase}"},
      {"lowercase", "\\p{Lowercase}"},
      {"punct", "\\p{P}$+<=>^`|~"},
      {"word", kWord},
      {"xdigit", "0-9A-Fa-f"},
      {"ascii", "\\x{0}-\\x{7f}"},
      {"any", "\\x{0}-\\x{10ffff}"},
      {"letter", "\\p{L}"},
      {"uppercaseletter", "\\p{Lu}"},
      {"lowercaseletter", "\\p{Ll}"},
      {"titlecaseletter", "\\p{Lt}"},
      {"modifierletter", "\\p{Lm}"},
      {"otherletter", "\\p{Lo}"},
      {"mark", "\\p{M}"},
      {"nonspacingmark", "\\p{Mn}"},
      {"spacingmark", "\\p{Mc}"},
      {"enclosingmark", "\\p{Me}"},
      {"number", "\\p{N}"},
      {"decimalnumber", "\\p{Nd}"},
      {"letternumber", "\\p{Nl}"},
      {"othernumber", "\\p{No}"},
      {"punctuation", "\\p{P}"},
      {"connectorpunctuation", "\\p{Pc}"},
      {"dashpunctuation", "\\p{Pd}"},
      {"openpunctuation", "\\p{Ps}"},
      {"closepunctuation", "\\p{Pe}"},
      {"initialpunctuation", "\\p{Pi}"},
      {"finalpunctuation", "\\p{Pf}"},
      {"otherpunctuation", "\\p{Po}"},
      {"symbol", "\\p{S}"},
      {"mathsymbol", "\\p{Sm}"},
      {"currencysymbol", "\\p{Sc}"},
      {"modifiersymbol", "\\p{Sk}"},
      {"othersymbol", "\\p{So}"},
      {"separator", "\\p{Z}"},
      {"spaceseparator", "\\p{Zs}"},
      {"lineseparator", "\\p{Zl}"},
      {"paragraphseparator", "\\p{Zp}"},
      {"other", "\\p{C}"},
      {"control", "\\p{Cc}"},
      {"format", "\\p{Cf}"},
      {"privateuse", "\\p{Co}"},
      {"unassigned", "\\p{Cn}"},
  };
  auto found = known.find(name);
  if (found == known.end()) return std::nullopt;
  return found->second;
}

bool is_binary_property(const std::string& name) {
  static const std::set<std::string> known = {"emoji",
                                              "emojipresentation",
                                              "emojimodifier",
                                              "emojimodifierbase",
                                              "emojicomponent",
                                              "extendedpictographic",
                                              "dash",
                                              "math",
                                              "hexdigit",
                                              "ideographic",
                                              "idstart",
                                              "idcontinue",
                                              "xidstart",
                                              "xidcontinue",
                                              "cased",
                                              "caseignorable",
                                              "diacritic",
                                              "quotationmark",
                                              "variationselector"};
  return known.count(name) > 0;
}

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    while (!at_end()) step();
    return std::move(out_);
  }

 private:
  bool at_end() const { return at_ >= pattern_.size(); }
  char peek(size_t offset = 0) const {
    return at_ + offset < pattern_.size() ? pattern_[at_ + offset] : '\0';
  }
  [[noreturn]] void refuse(const char* what) const {
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: the pattern {} is not understood: {} at byte {}", where_, pattern_, what, at_);
  }

  void atom(const std::string& text) {
    atom_ = out_.size();
    out_ += text;
  }

  void step() {
    char letter = peek();
    switch (letter) {
      case '\\':
        escape();
        break;
      case '[':
        ++at_;
        atom(char_class(0));
        break;
      case '(':
        open_group();
        break;
      case ')':
        ++at_;
        out_ += ')';
        if (!groups_.empty()) {
          atom_ = groups_.back();
          groups_.pop_back();
        }
        break;
      case '{':
        interval();
        break;
      case '*':
      case '+':
      case '?':
      case '|':
        ++at_;
        out_ += letter;
        break;
      default:
        ++at_;
        atom(std::string(1, letter));
        while (!at_end() && (static_cast<unsigned char>(peek()) & 0xc0) == 0x80) out_ += pattern_[at_++];
    }
  }

  void open_group() {
    groups_.push_back(out_.size());
    out_ += '(';
    ++at_;
    if (peek() != '?') return;
    out_ += '?';
    ++at_;
    // Option letters: Ruby's m is PCRE2's s.
    size_t end = at_;
    while (end < pattern_.size() && std::string_view("imx-").find(pattern_[end]) != std::string_view::npos)
      ++end;
    if (end == at_ || end >= pattern_.size() || (pattern_[end] != ':' && pattern_[end] != ')')) return;
    for (; at_ < end; ++at_) out_ += peek() == 'm' ? 's' : peek();
  }

  // {n,m}: a following + repeats it once more, where PCRE2 would make it possessive.
  void interval() {
    size_t end = at_ + 1;
    std::string low, high;
    bool comma = false;
    for (; end < pattern_.size() && pattern_[end] != '}'; ++end) {
      char letter = pattern_[end];
      if (letter == ',' && !comma)
        comma = true;
      else if (letter >= '0' && letter <= '9')
        (comma ? high : low) += letter;
      else
        break;
    }
    if (end >= pattern_.size() || pattern_[end] != '}' || (low.empty() && high.empty())) {
      ++at_;
      atom("\\{");
      return;
    }
    std::string text = "{" + (low.empty() ? "0" : low) + (comma ? "," + high : "") + "}";
    at_ = end + 1;
    if (peek() == '+') {
      out_.insert(atom_, "(?:");
      out_ += text + ")";
    } else {
      out_ += text;
    }
  }

  // The set that the property named in {...} stands for; `at_` is at the brace.
  CharSet property(bool negated) {
    if (peek() != '{') refuse("a property without braces");
    size_t end = pattern_.find('}', at_);
    if (end == pattern_.npos) refuse("a property without its closing brace");
    std::string name(pattern_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.erase(0, 1);
    }
    size_t equals = name.find('=');
    if (equals != name.npos) name.erase(0, equals + 1);
    for (char letter : name)
      if (!(letter == '_' || letter == ' ' || letter == '-' || letter == '&' ||
            (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') ||
            (letter >= 'A' && letter <= 'Z')))
        refuse("a property whose name is no word");
    if (auto items = known_property(plain_name(name)))
      return negated ? complement(items_set(*items)) : items_set(*items);
    // A script by itself would match Script_Extensions in PCRE2.
    bool is_script = name.size() > 2 && !is_binary_property(plain_name(name));
    return items_set((negated ? "\\P{" : "\\p{") + std::string(is_script ? "sc:" : "") + name + "}");
  }

  // Escapes that stand for a set of characters, inside and outside of a class.
  std::optional<CharSet> set_escape() {
    char letter = peek(1);
    switch (letter) {
      case 's':
        at_ += 2;
        return items_set(kSpace);
      case 'S':
        at_ += 2;
        return items_set(kNotSpace);
      case 'w':
        at_ += 2;
        return items_set(kWord);
      case 'W':
        at_ += 2;
        return complement(items_set(kWord));
      case 'd':
        at_ += 2;
        return items_set("\\p{Nd}");
      case 'D':
        at_ += 2;
        return items_set("\\P{Nd}");
      case 'h':
        at_ += 2;
        return items_set("0-9A-Fa-f");
      case 'H':
        at_ += 2;
        return complement(items_set("0-9A-Fa-f"));
      case 'p':
      case 'P':
        at_ += 2;
        return property(letter == 'P');
      default:
        return std::nullopt;
    }
  }

  // Escapes that stand for one character; empty when it is none of them.
  std::string char_escape() {
    char letter = peek(1);
    if (letter == 'u' || letter == 'x') {
      bool braces = letter == 'x' && peek(2) == '{';
      size_t digits = at_ + (braces ? 3 : 2);
      size_t most = letter == 'u' ? 4 : braces ? 6 : 2;
      size_t end = digits;
      while (end < pattern_.size() && end - digits < most &&
             std::string_view("0123456789abcdefABCDEF").find(pattern_[end]) != std::string_view::npos)
        ++end;
      if (end == digits || (letter == 'u' && end - digits != 4) ||
          (braces && (end >= pattern_.size() || pattern_[end] != '}')))
        refuse("a character number that is not hexadecimal");
      std::string text = "\\x{" + std::string(pattern_.substr(digits, end - digits)) + "}";
      at_ = end + (braces ? 1 : 0);
      return text;
    }
    if (letter == 'v') {
      at_ += 2;
      return "\\x{b}";
    }
    return "";
  }

  void escape() {
    if (at_ + 1 >= pattern_.size()) refuse("a backslash at the end");
    char letter = peek(1);
    if (auto set = set_escape()) {
      atom(set->pattern(false));
      return;
    }
    std::string text = char_escape();
    if (!text.empty()) {
      atom(text);
    } else if (letter == 'b' || letter == 'B') {
      at_ += 2;
      std::string word = std::string("[") + kWord + "]";
      atom(letter == 'b' ? "(?:(?<=" + word + ")(?!" + word + ")|(?<!" + word + ")(?=" + word + "))"
                         : "(?:(?<=" + word + ")(?=" + word + ")|(?<!" + word + ")(?!" + word + "))");
    } else if (letter == 'k' || letter == 'g') {
      refuse("a reference to a group");
    } else {
      at_ += 2;
      atom(std::string("\\") + letter);
      while (!at_end() && (static_cast<unsigned char>(letter) & 0x80) &&
             (static_cast<unsigned char>(peek()) & 0xc0) == 0x80)
        out_ += pattern_[at_++];
    }
  }

  // [:name:] or nothing.
  std::optional<CharSet> posix_bracket() {
    if (peek() != '[' || peek(1) != ':') return std::nullopt;
    size_t end = pattern_.find(":]", at_ + 2);
    if (end == pattern_.npos || end - at_ > 20) return std::nullopt;
    std::string name(pattern_.substr(at_ + 2, end - at_ - 2));
    bool negated = !name.empty() && name[0] == '^';
    if (negated) name.erase(0, 1);
    if (name == "graph" || name == "print") {
      at_ = end + 2;
      return items_set((negated ? "[:^" : "[:") + name + ":]");
    }
    auto items = known_property(name);
    if (!items) return std::nullopt;
    at_ = end + 2;
    return negated ? complement(items_set(*items)) : items_set(*items);
  }

  // A class; `at_` is behind its opening bracket. Oniguruma nests classes and intersects them with &&.
  std::string char_class(int depth) {
    if (depth > kMaxNesting) refuse("character classes nested too deep");
    bool negated = peek() == '^';
    if (negated) ++at_;
    CharSet set;
    std::vector<CharSet> factors;
    bool first = true;
    for (;; first = false) {
      if (at_end()) refuse("a character class without its closing bracket");
      char letter = peek();
      if (letter == ']' && !first) {
        ++at_;
        break;
      }
      if (letter == '[') {
        if (auto posix = posix_bracket()) {
          set.add(*posix);
        } else {
          ++at_;
          set.parts.push_back(char_class(depth + 1));
        }
      } else if (letter == '&' && peek(1) == '&') {
        at_ += 2;
        factors.push_back(std::move(set));
        set = {};
      } else if (letter == '\\') {
        if (at_ + 1 >= pattern_.size()) refuse("a backslash at the end");
        if (auto escaped = set_escape()) {
          set.add(*escaped);
        } else if (std::string text = char_escape(); !text.empty()) {
          set.items += text;
        } else {
          set.items += '\\';
          set.items += peek(1);
          at_ += 2;
        }
      } else {
        if (letter == ']') set.items += '\\';
        set.items += letter;
        ++at_;
      }
    }
    factors.push_back(std::move(set));
    for (const CharSet& factor : factors)
      if (factor.empty()) refuse("an empty character class");
    if (factors.size() == 1) return factors[0].pattern(negated);
    std::string all = "(?:";
    for (size_t index = 0; index + 1 < factors.size(); ++index)
      all += "(?=" + factors[index].pattern(false) + ")";
    all += factors.back().pattern(false) + ")";
    return negated ? "(?:(?!" + all + ")" + kAnyChar + ")" : all;
  }

  std::string_view pattern_;
  const std::string& where_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = 0;             // where the last atom begins in out_
  std::vector<size_t> groups_;  // where the open groups begin in out_
};

}  // namespace

std::string translate_pattern(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

}  // namespace vlm
