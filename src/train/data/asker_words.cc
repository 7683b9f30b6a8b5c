// Reading, captions, emoji and small talk.
#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "train/data/asker.h"

namespace vlm::data {
namespace {

bool is_number(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

// The same with one letter changed, or another length: what a careless reader would confuse.
std::string nearly(const std::string& text, Rng& rng) {
  std::string result = text;
  auto at = static_cast<size_t>(rng.below(static_cast<int64_t>(text.size())));
  auto old = static_cast<unsigned char>(text[at]);
  char first = std::isdigit(old) ? '0' : std::isupper(old) ? 'A' : 'a';
  result[at] = static_cast<char>(first + rng.below(std::isdigit(old) ? 10 : 26));
  return result;
}

// `begins`: where the parts begin.
std::string joined(const std::vector<std::string>& parts, std::vector<size_t>* begins = nullptr) {
  std::string result;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) result += i + 1 == parts.size() ? " and " : ", ";
    if (begins) begins->push_back(result.size());
    result += parts[i];
  }
  return result;
}

// "a cat", but "scissors" and "bread".
std::string some_emoji(const std::string& name) {
  static const std::set<std::string> bare = {
      "grapes",   "cherries",  "fries", "glasses", "jeans",  "scissors", "bread", "cheese",   "corn",
      "broccoli", "chocolate", "wine",  "beer",    "coffee", "fire",     "dice",  "ice cream"};
  return bare.contains(name) ? name : with_article(name);
}

std::string sentence(std::string text) {
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text + ".";
}

const char* caption_pattern =
    "(Describe (the|this) (picture|image|scene).|Describe (the|this) (picture|image|scene) in detail.|"
    "What (is in (the|this) (picture|image)|does (the|this) (picture|image) show)?|What do you see( in "
    "(the|this) (picture|image)|)?|"
    "(Write|Give|Give me|Make) a (caption|description)( for (the|this) (picture|image)|).|"
    "Caption (the|this) (picture|image).|What can you see( here| in the picture|)?|"
    "(Can|Could) you describe (the|this) (picture|image|scene)?|Tell me (what you see|about (the|this) "
    "picture).|"
    "What is shown (here|in the picture|in the image)?)";

const char* list_pattern =
    "(List the shapes from left to right.|Name the (objects|shapes) from left to right.|"
    "Describe (the|this) (picture|image) (briefly|in a few words).|Briefly, what is in (the|this) "
    "(picture|image)?|"
    "(Give|Write|Give me) a short (caption|description)( of (the|this) (picture|image)|).|"
    "What (shapes|objects) (are there|do you see|are shown), from left to right?|Briefly describe (the|this) "
    "(picture|image|scene).|Which shapes (are in the picture|does the picture show), from left to right?)";

}  // namespace

std::optional<Draft> Asker::reading() {
  if (scene_.texts.empty()) return std::nullopt;
  size_t index = static_cast<size_t>(rng_.below(static_cast<int64_t>(scene_.texts.size())));
  const Text& text = scene_.texts[index];
  bool alone = scene_.texts.size() == 1;
  Sights sights;
  for (const Thing& letter : letters_of(static_cast<int64_t>(index))) {
    auto at = static_cast<size_t>(letter.letter);
    sights.push_back({"", {letter}, false, false, at, at + 1});
  }
  // Twice, in different words: reading is the hardest, and the picture is there anyway.
  std::string key = std::to_string(index) + (rng_.chance(0.5) ? "a" : "b");
  if (alone && rng_.chance(0.15)) {
    std::string asked = rng_.chance(0.5) ? text.text : nearly(text.text, rng_);
    return make("reading", AnswerForm::yes_no,
                "((Does it say|Is it|Is the text|Does the text say|Does the picture say) \"{word}\"?|"
                "Is \"{word}\" written( here| in the picture|)?|(Do|Can) you (see|read) \"{word}\"?)",
                {{"word", asked}}, asked == text.text ? "yes" : "no", "says", {{"", letters_of(0)}});
  }
  if (!alone) {
    return make(
        "reading", AnswerForm::text,
        index == 0
            ? "(What is the (top|upper|first) (word|text|line)?|What does the (top|upper|first) "
              "(text|line) say?|Read the (top|upper|first) (line|text).|What is written (at the top|on top)?)"
            : "(What is the (bottom|lower|second) (word|text|line)?|What does the (bottom|lower|second) "
              "(text|line) say?|Read the (bottom|lower|second) (line|text).|What is written (at the bottom|"
              "below)?)",
        {}, text.text, "read " + key, sights);
  }
  std::string pattern =
      "(What does (the text|it|the (picture|image)) say?|What is written( here| in the (picture|image)| "
      "there|)?|Read the "
      "text.|What text (is shown|is in the (picture|image)|do you see|can you see)?|What does the text read?|"
      "(Can|Could) you read the text?|(Tell me|Say) what (is written|it says|the text says).|What is the "
      "text?|"
      "Please read the (text|writing).|Transcribe the text.|What's written (here|in the picture)?|"
      "What can you read?|Spell out the text.)";
  if (text.panel_hue && rng_.chance(0.5)) {
    pattern =
        "(What does the sign say?|What is (written |)on the sign?|Read the sign.|(Tell me|Say) what the sign "
        "says.|"
        "What can you read on the sign?|What's on the sign?)";
  } else if (is_number(text.text) && rng_.chance(0.5)) {
    pattern =
        "((What|Which) number (is (shown|written|this|it)|do you see|is in the picture)?|Read the number.|"
        "What is the number?|(Tell me|Name) the number.|What number can you (see|read)?)";
  } else if (text.text.size() > 1 && !is_number(text.text) && rng_.chance(0.4)) {
    pattern =
        "((What|Which) word (is (shown|written|this|it)|do you see|is in the picture)?|Read the word.|"
        "What is the word?|(Tell me|Name) the word.|What word can you (see|read)?|Which letters do you see?|"
        "What are the letters?)";
  }
  return make("reading", AnswerForm::text, pattern, {}, text.text, "read " + key, sights);
}

std::optional<Draft> Asker::caption() {
  if (scene_.texts.size() == 1 && scene_.objects.size() <= 1) {
    const Text& text = scene_.texts[0];
    std::vector<std::string> parts;
    for (const Object& object : scene_.objects) {
      parts.push_back(with_article(name(object.hue) + " " + name(object.shape)));
    }
    parts.push_back((text.panel_hue ? with_article(name(*text.panel_hue) + " sign with ") : std::string()) +
                    "the text \"" + text.text + "\" in " + name(text.hue));
    return make("caption", AnswerForm::sentence, caption_pattern, {}, sentence(joined(parts)), "caption");
  }
  if (!scene_.texts.empty() || scene_.objects.empty() || scene_.objects.size() > 4) return std::nullopt;
  std::vector<const Object*> order;
  for (const Object& object : scene_.objects) order.push_back(&object);
  std::sort(order.begin(), order.end(), [](const Object* a, const Object* b) { return a->x < b->x; });
  bool complete = true;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && order[i]->x - order[i - 1]->x < 0.07) return std::nullopt;
    complete &= order[i]->size && place_of(order[i]->x, order[i]->y);
  }
  bool detailed = rng_.chance(0.6);
  auto same_name = [](const Object* a, const Object* b) { return a->hue == b->hue && a->shape == b->shape; };
  for (size_t i = 0; i + 1 < order.size() && !detailed; ++i) {
    if (std::any_of(order.begin() + static_cast<int64_t>(i) + 1, order.end(),
                    [&](const Object* other) { return same_name(order[i], other); })) {
      return std::nullopt;
    }
  }
  if (detailed && !complete) return std::nullopt;
  std::vector<std::string> parts;
  for (const Object* each : order) {
    std::string text = name(each->hue) + " " + name(each->shape);
    if (detailed) text = name(*each->size) + " " + text;
    text = with_article(text);
    if (detailed) text += " " + phrase(*place_of(each->x, each->y));
    parts.push_back(text);
  }
  std::vector<size_t> begins;
  std::string answer = sentence(joined(parts, &begins));
  Sights sights;
  for (size_t i = 0; i < order.size(); ++i)
    sights.push_back(
        {"", {object(index_of(*order[i]))}, false, false, begins[i], begins[i] + parts[i].size()});
  return make("caption", AnswerForm::sentence, detailed ? caption_pattern : list_pattern, {}, answer,
              detailed ? "caption" : "list", sights);
}

std::optional<Draft> Asker::emoji() {
  if (scene_.pictures.empty()) return std::nullopt;
  auto index = static_cast<size_t>(rng_.below(static_cast<int64_t>(scene_.pictures.size())));
  const Picture& picture = scene_.pictures[index];
  const std::vector<Emoji>& table = emoji_table();
  std::string own = table[static_cast<size_t>(picture.emoji)].name;
  std::vector<Thing> it = {Asker::picture(static_cast<int64_t>(index))};
  bool alone = scene_.pictures.size() == 1;
  double form = rng_.uniform();
  if (form < 0.25) {
    bool yes = rng_.chance(0.5);
    std::string asked = yes ? own : rng_.pick(table).name;
    for (const Picture& other : scene_.pictures) {
      if (!yes && asked == table[static_cast<size_t>(other.emoji)].name) return std::nullopt;
    }
    return make("object", AnswerForm::yes_no,
                "(Is there {a}( in the (picture|image)|)?|(Can|Do) you see {a}?|Does the (picture|image) "
                "(show|contain) {a}?"
                "|Is {a} (shown|visible)?" +
                    std::string(alone ? "|Is (this|it) {a}?)" : ")"),
                {{"a", some_emoji(asked)}}, yes ? "yes" : "no", "is there",
                sights_of("a", yes ? it : std::vector<Thing>()));
  }
  if (alone) {
    if (form < 0.4) {
      std::string other = rng_.pick(table).name;
      if (other == own) return std::nullopt;
      bool first = rng_.chance(0.5);
      return make("object", AnswerForm::word, "(Is (this|it) {a} or {b}?|Which is it, {a} or {b}?)",
                  {{"a", some_emoji(first ? own : other)}, {"b", some_emoji(first ? other : own)}}, own,
                  "either " + other, {{"", it}});
    }
    if (form < 0.48) {
      return make("caption", AnswerForm::sentence, caption_pattern, {},
                  sentence("a picture of " + some_emoji(own)), "caption", {{"", it}});
    }
    return make(
        "object", AnswerForm::word,
        "(What is (this|it|that)?|What is in the (picture|image)?|What does the (picture|image) show?|Name "
        "the "
        "(object|thing).|What (object|thing) (is this|is shown|do you see)?|What do you see( here|)?|"
        "(Tell me|Say) what (this|it) is.|What's (this|that)?|What is shown( here|)?|Identify the object.)",
        {}, own, "what", {{"", it}});
  }
  if (form < 0.5) {
    std::vector<Thing> all_pictures;
    for (size_t i = 0; i < scene_.pictures.size(); ++i)
      all_pictures.push_back(Asker::picture(static_cast<int64_t>(i)));
    return make(
        "count", AnswerForm::number,
        "(How many (things|objects|pictures|icons) (are there|do you see|are in the picture)?|Count the "
        "(objects|things|icons).)",
        {}, std::to_string(scene_.pictures.size()), "count emoji", {{"", all_pictures, false, true}});
  }
  std::optional<Place> place = place_of(picture.x, picture.y);
  if (!place) return std::nullopt;
  if (form < 0.75) {
    return make("position", AnswerForm::word,
                "(Where is the {it}?|Where (do you see|can you see) the {it}?|In (which|what) part of the "
                "(picture|image) "
                "is the {it}?|What is the position of the {it}?|(Tell me|Say) where the {it} is.)",
                {{"it", own}}, name(*place), "where " + own, sights_of("it", it));
  }
  for (const Picture& other : scene_.pictures) {
    std::optional<Place> theirs = place_of(other.x, other.y);
    if (&other != &picture && (!theirs || *theirs == *place)) return std::nullopt;
  }
  return make("object", AnswerForm::word,
              "(What is {place}?|What (do you see|can you see) {place}?|(Tell me|Say|Name) what is {place}.|"
              "Which (object|thing) is {place}?|What's {place}?)",
              {{"place", spoken(*place, rng_)}}, own, "at " + name(*place), sights_of("place", it));
}

std::optional<Draft> Asker::chat() {
  static const std::array<std::pair<const char*, const char*>, 7> talk = {{
      {"(Who are you?|What are you?|(Tell me|Say) who you are.|Introduce yourself.|What is your name?|Are "
       "you a (robot|"
       "person|human)?)",
       "I am a small vision-language model that looks at pictures and answers questions."},
      {"(What can you do?|What are you able to do?|How can you help( me|)?|What (are|is) your "
       "(skills|purpose)?|Help.|"
       "What can I ask( you|)?|What kind of questions can you answer?)",
       "I can describe simple pictures, name colors and shapes, count, say where things are and read words."},
      {"(Hello!|Hi!|Hi there!|Good morning!|Hey!|Hello there!|Good evening!)",
       "Hello! What would you like to know?"},
      {"(Thank you!|Thanks!|Thanks a lot!|Thank you very much.|That was helpful.)", "You are welcome."},
      {"(Goodbye!|Bye!|See you.|Good night!|Bye bye.)", "Goodbye!"},
      {"(How are you?|How do you do?|How are you doing?)", "I am fine, thank you."},
      {"(Who made you?|Where do you come from?|How were you (made|trained)?|What were you trained on?)",
       "I was trained on drawn scenes of colored shapes, words and icons."},
  }};
  auto index = static_cast<size_t>(rng_.below(static_cast<int64_t>(talk.size())));
  std::string text = expand(talk[index].first, {}, rng_);
  return Draft{{text, talk[index].second, "chat"}, "chat " + std::to_string(index)};
}

}  // namespace vlm::data
