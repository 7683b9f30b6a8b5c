#include <memory>
#include <optional>
#include <unordered_map>

#include "text/pre_tokenizer.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace vlm {

namespace {

// The scripts that the reference's table knows; characters of later ones belong to any script.
constexpr const char* kScripts[] = {"Latin",
                                    "Common",
                                    "Han",
                                    "Cyrillic",
                                    "Arabic",
                                    "Hiragana",
                                    "Katakana",
                                    "Hangul",
                                    "Greek",
                                    "Hebrew",
                                    "Thai",
                                    "Devanagari",
                                    "Inherited",
                                    "Adlam",
                                    "Ahom",
                                    "Anatolian_Hieroglyphs",
                                    "Armenian",
                                    "Avestan",
                                    "Balinese",
                                    "Bamum",
                                    "Bassa_Vah",
                                    "Batak",
                                    "Bengali",
                                    "Bhaiksuki",
                                    "Bopomofo",
                                    "Brahmi",
                                    "Braille",
                                    "Buginese",
                                    "Buhid",
                                    "Canadian_Aboriginal",
                                    "Carian",
                                    "Caucasian_Albanian",
                                    "Chakma",
                                    "Cham",
                                    "Cherokee",
                                    "Coptic",
                                    "Cuneiform",
                                    "Cypriot",
                                    "Deseret",
                                    "Duployan",
                                    "Egyptian_Hieroglyphs",
                                    "Elbasan",
                                    "Ethiopic",
                                    "Georgian",
                                    "Glagolitic",
                                    "Gothic",
                                    "Grantha",
                                    "Gujarati",
                                    "Gurmukhi",
                                    "Hanunoo",
                                    "Hatran",
                                    "Imperial_Aramaic",
                                    "Inscriptional_Pahlavi",
                                    "Inscriptional_Parthian",
                                    "Javanese",
                                    "Kaithi",
                                    "Kannada",
                                    "Kayah_Li",
                                    "Kharoshthi",
                                    "Khmer",
                                    "Khojki",
                                    "Khudawadi",
                                    "Lao",
                                    "Lepcha",
                                    "Limbu",
                                    "Linear_A",
                                    "Linear_B",
                                    "Lisu",
                                    "Lycian",
                                    "Lydian",
                                    "Mahajani",
                                    "Malayalam",
                                    "Mandaic",
                                    "Manichaean",
                                    "Marchen",
                                    "Meetei_Mayek",
                                    "Mende_Kikakui",
                                    "Meroitic_Cursive",
                                    "Meroitic_Hieroglyphs",
                                    "Miao",
                                    "Modi",
                                    "Mongolian",
                                    "Mro",
                                    "Multani",
                                    "Myanmar",
                                    "Nabataean",
                                    "New_Tai_Lue",
                                    "Newa",
                                    "Nko",
                                    "Ogham",
                                    "Ol_Chiki",
                                    "Old_Hungarian",
                                    "Old_Italic",
                                    "Old_North_Arabian",
                                    "Old_Permic",
                                    "Old_Persian",
                                    "Old_South_Arabian",
                                    "Old_Turkic",
                                    "Oriya",
                                    "Osage",
                                    "Osmanya",
                                    "Pahawh_Hmong",
                                    "Palmyrene",
                                    "Pau_Cin_Hau",
                                    "Phags_Pa",
                                    "Phoenician",
                                    "Psalter_Pahlavi",
                                    "Rejang",
                                    "Runic",
                                    "Samaritan",
                                    "Saurashtra",
                                    "Sharada",
                                    "Shavian",
                                    "Siddham",
                                    "SignWriting",
                                    "Sinhala",
                                    "Sora_Sompeng",
                                    "Sundanese",
                                    "Syloti_Nagri",
                                    "Syriac",
                                    "Tagalog",
                                    "Tagbanwa",
                                    "Tai_Le",
                                    "Tai_Tham",
                                    "Tai_Viet",
                                    "Takri",
                                    "Tamil",
                                    "Tangut",
                                    "Telugu",
                                    "Thaana",
                                    "Tibetan",
                                    "Tifinagh",
                                    "Tirhuta",
                                    "Ugaritic",
                                    "Vai",
                                    "Warang_Citi",
                                    "Yi"};
constexpr int kAnyScript = -1;
constexpr int kHan = 2;
constexpr int kHiragana = 5;
constexpr int kKatakana = 6;

int script_of(char32_t letter) {
  if (letter == U' ') return kAnyScript;
  if (letter == 0x30fc) return kHan;  // the prolonged sound mark
  thread_local std::unordered_map<char32_t, int> known;
  auto found = known.find(letter);
  if (found != known.end()) return found->second;
  static const auto regexes = [] {
    std::vector<std::shared_ptr<const Regex>> all;
    for (const char* name : kScripts)
      all.push_back(Regex::compile("\\p{" + std::string(name) + "}", "UnicodeScripts"));
    return all;
  }();
  std::string text;
  append_char(text, letter);
  int script = kAnyScript;
  for (size_t index = 0; index < regexes.size() && script == kAnyScript; ++index)
    if (regexes[index]->find(text)[0].is_match) script = static_cast<int>(index);
  // Japanese mixes its three scripts within words.
  if (script == kHiragana || script == kKatakana) script = kHan;
  known.emplace(letter, script);
  return script;
}

}  // namespace

PreTokenizer pre_tokenizers::unicode_scripts() {
  return [](std::vector<Piece>& pieces) {
    std::vector<Piece> parts;
    for (const Piece& piece : pieces) {
      // Characters in front of the first script belong to no part: the reference drops them, too, but they
      // can only be blanks at the very beginning.
      std::vector<size_t> cuts;
      std::optional<int> last;
      for (size_t at = 0, length; at < piece.text.size(); at += length) {
        int script = script_of(decode_char(piece.text, at, length));
        if (script == kAnyScript) continue;
        if (last != script) cuts.push_back(at);
        last = script;
      }
      cuts.push_back(piece.text.size());
      for (size_t index = 0; index + 1 < cuts.size(); ++index)
        parts.push_back({piece.text.substr(cuts[index], cuts[index + 1] - cuts[index]),
                         piece.at_start && cuts[index] == 0});
    }
    pieces = std::move(parts);
  };
}

}  // namespace vlm
