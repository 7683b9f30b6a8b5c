#include "app/cli/catalogue.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/error.h"

namespace vlm::cli {
namespace {

constexpr Fusion kFusions[] = {
    {"splice", "image features take places in the text sequence"},
    {"query-bottleneck", "learnt queries squeeze the image into few vectors, which then join the text"},
    {"gated-cross-attention", "added layers inside the language model attend to the image, gated from zero"},
    {"visual-expert", "image tokens have weights of their own inside the language model"},
    {"encoder-decoder", "an encoder reads image and text, a decoder writes the answer"},
    {"patches-in-decoder", "raw patches are tokens of the decoder; there is no vision encoder"},
    {"several-encoders", "several vision encoders are joined before they enter the text"},
    {"dual-tower", "image and text towers meet only in a similarity"},
    {"head", "a box or mask head works beside the text model"},
    {"classifier", "image in, class out"},
};

// --- reading

[[noreturn]] void bad_card(const std::string& file, const std::string& problem) {
  fail(ErrorKind::internal, "correct the card and build again", "{}: {}", file, problem);
}

// One table of a card. finish() complains about keys nobody asked for, so a misspelt key cannot hide.
class Table {
 public:
  Table(const toml::table& table, std::string path, std::string file)
      : table_(table), path_(std::move(path)), file_(std::move(file)) {}

  std::string text(std::string_view key) {
    const toml::node* node = take(key);
    if (node == nullptr) return "";
    const auto* value = node->as_string();
    if (value == nullptr || value->get().empty()) wrong(key, "text");
    return value->get();
  }

  std::string required_text(std::string_view key) {
    std::string value = text(key);
    if (value.empty()) wrong(key, "text");
    return value;
  }

  int required_integer(std::string_view key) {
    const toml::node* node = take(key);
    if (node == nullptr || !node->is_integer()) wrong(key, "a whole number");
    return static_cast<int>(node->as_integer()->get());
  }

  std::vector<std::string> required_list(std::string_view key) {
    std::vector<std::string> values;
    for (const toml::node& node : required_array(key)) {
      if (!node.is_string()) wrong(key, "a list of texts");
      values.push_back(node.as_string()->get());
    }
    return values;
  }

  const toml::array& required_array(std::string_view key) {
    const toml::node* node = take(key);
    if (node == nullptr || !node->is_array()) wrong(key, "a list");
    return *node->as_array();
  }

  // Null when the card has no such table.
  const toml::table* table(std::string_view key) {
    const toml::node* node = take(key);
    if (node != nullptr && !node->is_table()) wrong(key, "a table");
    return node == nullptr ? nullptr : node->as_table();
  }

  void finish() const {
    for (const auto& [key, value] : table_) {
      if (taken_.count(std::string(key.str())) == 0) {
        bad_card(file_, fmt::format("unknown key {}{}", path_, key.str()));
      }
    }
  }

 private:
  const toml::node* take(std::string_view key) {
    taken_.emplace(key);
    return table_.get(key);
  }

  [[noreturn]] void wrong(std::string_view key, std::string_view wanted) const {
    bad_card(file_, fmt::format("{}{} must be {}{}", path_, key, wanted,
                                table_.contains(key) ? "" : ", and is missing"));
  }

  const toml::table& table_;
  std::string path_;
  std::string file_;
  std::set<std::string> taken_;
};

Card read_card(const toml::table& document, const std::string& file) {
  Table top(document, "", file);
  Card card;
  card.slug = top.required_text("slug");
  card.number = top.required_integer("number");
  card.name = top.required_text("name");
  card.year = top.required_integer("year");
  card.title = top.text("title");
  card.authors = top.required_text("authors");
  card.organisation = top.text("organisation");
  card.paper = top.text("paper");
  card.page = top.text("page");
  card.code = top.text("code");
  card.weights = top.required_list("weights");
  card.weights_note = top.text("weights_note");
  card.licence = top.text("licence");
  card.parameters = top.text("parameters");
  card.tagline = top.required_text("tagline");
  card.family = top.required_text("family");
  card.base = top.text("base");
  card.fusion = top.required_text("fusion");
  card.tasks = top.required_list("tasks");
  card.inputs = top.required_list("inputs");
  card.flow = top.required_text("flow");
  card.unusual = top.required_list("unusual");
  card.datasets = top.required_list("datasets");

  const toml::table* vision_table = top.table("vision");
  if (vision_table == nullptr) bad_card(file, "the table [vision] is missing");
  Table vision(*vision_table, "vision.", file);
  card.encoder = vision.required_text("encoder");
  card.resolution = vision.required_text("resolution");
  card.tokens = vision.required_text("tokens");
  vision.finish();

  if (const toml::table* found = top.table("connector")) {
    Table connector(*found, "connector.", file);
    card.connector = connector.required_text("kind");
    card.connector_detail = connector.required_text("detail");
    connector.finish();
  }
  if (const toml::table* found = top.table("language")) {
    Table language(*found, "language.", file);
    card.language = language.required_text("model");
    language.finish();
  }
  const toml::table* training_table = top.table("training");
  if (training_table == nullptr) bad_card(file, "the table [training] is missing");
  Table training(*training_table, "training.", file);
  for (const toml::node& node : training.required_array("stages")) {
    if (!node.is_table()) bad_card(file, "training.stages must hold tables");
    Table stage(*node.as_table(), "training.stages.", file);
    card.stages.push_back({stage.required_text("name"), stage.required_text("trains"), stage.text("data"),
                           stage.text("notes")});
    stage.finish();
  }
  training.finish();
  top.finish();
  return card;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return text;
}

const EmbeddedCard* find_embedded(std::string_view slug) {
  for (const EmbeddedCard& card : embedded_cards()) {
    if (card.slug == slug) return &card;
  }
  return nullptr;
}

Card parse_embedded(const EmbeddedCard& embedded) {
  return parse_card(embedded.text, fmt::format("catalog/{}.toml", embedded.slug));
}

// --- choosing

bool holds(const Card& card, const std::string& word) {
  auto contains = [&](const std::string& text) { return lower(text).find(word) != std::string::npos; };
  auto any = [&](const std::vector<std::string>& list) {
    return std::any_of(list.begin(), list.end(),
                       [&](const std::string& entry) { return lower(entry) == word; });
  };
  return contains(card.slug) || contains(card.name) || contains(card.encoder) || contains(card.language) ||
         lower(card.family) == word || lower(card.fusion) == word || lower(card.connector) == word ||
         any(card.tasks) || any(card.inputs) || std::to_string(card.year) == word;
}

std::vector<const Card*> choose(const std::vector<std::string>& words) {
  std::vector<const Card*> chosen;
  for (const Card& card : all_cards()) {
    bool all = std::all_of(words.begin(), words.end(),
                           [&](const std::string& word) { return holds(card, lower(word)); });
    if (all) chosen.push_back(&card);
  }
  if (chosen.empty()) {
    fail(ErrorKind::not_found,
         "words are looked for in slug, name, family, fusion, connector, task, input, year, encoder and "
         "language model; without words all systems are listed",
         "none of the {} systems has all of: {}", all_cards().size(), fmt::join(words, ", "));
  }
  return chosen;
}

// --- writing

enum class Ink { plain, bold, dim, green, yellow };

std::string paint(const TextStyle& style, Ink ink, const std::string& text) {
  if (!style.colour || ink == Ink::plain || text.empty()) return text;
  const char* code = ink == Ink::bold ? "1" : ink == Ink::dim ? "2" : ink == Ink::green ? "32" : "33";
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

std::vector<std::string> split(const std::string& text, std::string_view mark) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end = text.find(mark); end != std::string::npos; end = text.find(mark, begin)) {
    parts.push_back(text.substr(begin, end - begin));
    begin = end + mark.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

// Breaks `text` at spaces into lines of at most `width` letters; a longer word gets a line of its own.
std::vector<std::string> wrap(const std::string& text, size_t width) {
  std::vector<std::string> lines;
  std::istringstream words(text);
  std::string word;
  while (words >> word) {
    if (!lines.empty() && lines.back().size() + 1 + word.size() <= width) {
      lines.back() += " " + word;
    } else {
      lines.push_back(word);
    }
  }
  return lines;
}

// The same for a flow: every branch ("; ") begins a line, and lines break before arrows where they can.
std::vector<std::string> wrap_flow(const std::string& flow, size_t width) {
  std::vector<std::string> lines;
  for (const std::string& branch : split(flow, "; ")) {
    bool first = true;
    for (const std::string& step : split(branch, " -> ")) {
      if (first) {
        for (const std::string& line : wrap(step, width)) lines.push_back(line);
      } else if (lines.back().size() + 4 + step.size() <= width) {
        lines.back() += " -> " + step;
      } else {
        for (const std::string& line : wrap("-> " + step, width - 2)) lines.push_back("  " + line);
      }
      first = false;
    }
  }
  return lines;
}

constexpr size_t kLabelWidth = 11;

// "label      text", wrapped under itself.
void add_field(std::string& out, const TextStyle& style, const std::string& label, const std::string& text) {
  if (text.empty()) return;
  size_t width = std::max(style.width, 40) - kLabelWidth;
  std::string head = paint(style, Ink::dim, label) + std::string(kLabelWidth - label.size(), ' ');
  for (const std::string& line : wrap(text, width)) {
    out += head + line + "\n";
    head = std::string(kLabelWidth, ' ');
  }
}

// A bulleted or numbered list under one label.
void add_list(std::string& out, const TextStyle& style, const std::string& label,
              const std::vector<std::string>& entries, bool numbered) {
  size_t width = std::max(style.width, 40) - kLabelWidth - 2;
  std::string head = paint(style, Ink::dim, label) + std::string(kLabelWidth - label.size(), ' ');
  int number = 0;
  for (const std::string& entry : entries) {
    std::string mark = numbered ? fmt::format("{} ", ++number) : "- ";
    for (const std::string& line : wrap(entry, width)) {
      out += head + mark + line + "\n";
      head = std::string(kLabelWidth, ' ');
      mark = "  ";
    }
  }
}

std::string stage_line(const TrainingStage& stage) {
  std::string line = fmt::format("{}: trains {}", stage.name, stage.trains);
  if (!stage.data.empty()) line += " on " + stage.data;
  if (!stage.notes.empty()) line += "; " + stage.notes;
  return line;
}

Ink status_ink(const std::string& status) {
  return status.rfind("works", 0) == 0 ? Ink::green : Ink::yellow;
}

// generate, embed, classify, detect, segment as "gecds", a dot for what a system does not do.
std::string task_letters(const Card& card) {
  std::string letters;
  for (std::string_view task : {"generate", "embed", "classify", "detect", "segment"}) {
    bool has = std::find(card.tasks.begin(), card.tasks.end(), task) != card.tasks.end();
    letters += has ? task[0] : '.';
  }
  return letters;
}

std::string hub_list(const Card& card) {
  std::string text = fmt::format("{}", fmt::join(card.weights, ", "));
  if (card.weights_note.empty()) return text;
  return text.empty() ? card.weights_note : fmt::format("{} ({})", text, card.weights_note);
}

}  // namespace

Card parse_card(std::string_view text, const std::string& file) {
  try {
    return read_card(toml::parse(text, file), file);
  } catch (const toml::parse_error& error) {
    bad_card(file, fmt::format("line {}: {}", error.source().begin.line, error.description()));
  }
}

const std::vector<Card>& all_cards() {
  static const std::vector<Card> cards = [] {
    std::vector<Card> read;
    for (const EmbeddedCard& embedded : embedded_cards()) read.push_back(parse_embedded(embedded));
    std::sort(read.begin(), read.end(), [](const Card& a, const Card& b) { return a.number < b.number; });
    return read;
  }();
  return cards;
}

Card find_card(const std::string& name) {
  std::string wanted = lower(name);
  if (const EmbeddedCard* embedded = find_embedded(wanted)) return parse_embedded(*embedded);
  for (const Card& card : all_cards()) {
    if (lower(card.name) == wanted) return card;
    for (const std::string& hub_id : card.weights) {
      if (lower(hub_id) == wanted) return card;
    }
  }
  std::vector<std::string> slugs;
  for (const EmbeddedCard& embedded : embedded_cards()) slugs.emplace_back(embedded.slug);
  std::string nearest = nearest_word(wanted, slugs);
  fail(ErrorKind::not_found,
       nearest.empty() ? "vlm list shows all systems" : fmt::format("did you mean {}?", nearest),
       "no system is called {}", name);
}

std::string list_text(const TextStyle& style, const StatusOf& status, const std::vector<std::string>& words) {
  std::vector<const Card*> cards = choose(words);
  size_t slug_width = 6;
  for (const Card* card : cards) slug_width = std::max(slug_width, card->slug.size());
  auto line = [&](const std::string& number, const std::string& slug, const std::string& year,
                  const std::string& tasks, const std::string& fusion) {
    return fmt::format("{:>2}  {:<{}}  {:<4}  {:<5}  {:<21}", number, slug, slug_width, year, tasks, fusion);
  };
  std::string head = line("#", "system", "year", "tasks", "fusion");
  if (status) head += "  status";
  std::string out = paint(style, Ink::dim, head) + "\n";
  for (const Card* card : cards) {
    std::string row = line(std::to_string(card->number), card->slug, std::to_string(card->year),
                           task_letters(*card), card->fusion);
    if (status) {
      std::string word = status(card->slug);
      row += "  " + paint(style, status_ink(word), word);
    }
    row.erase(row.find_last_not_of(' ') + 1);
    out += row + "\n";
  }
  out += paint(
      style, Ink::dim,
      fmt::format("{} systems. tasks: g generate, e embed, c classify, d detect, s segment.", cards.size()));
  return out + "\n";
}

std::string card_text(const Card& card, const TextStyle& style, const StatusOf& status) {
  size_t width = std::max(style.width, 40);
  std::string out = paint(style, Ink::bold, card.name) + fmt::format("  [{}]  {}", card.slug, card.year);
  if (!card.parameters.empty()) out += "  " + card.parameters;
  out += "\n";
  auto paragraph = [&](const std::vector<std::string>& lines, Ink ink, const std::string& indent) {
    for (const std::string& text : lines) out += indent + paint(style, ink, text) + "\n";
  };
  paragraph(wrap(card.title, width), Ink::plain, "");
  paragraph(wrap(card.organisation.empty() || card.organisation == card.authors
                     ? card.authors
                     : fmt::format("{} ({})", card.authors, card.organisation),
                 width),
            Ink::dim, "");
  out += "\n";
  paragraph(wrap(card.tagline, width - 2), Ink::plain, "  ");
  out += "\n";
  paragraph(wrap_flow(card.flow, width - 2), Ink::bold, "  ");
  out += "\n";

  if (status) {
    std::string word = status(card.slug);
    if (!word.empty()) add_field(out, style, "status", word);
  }
  std::string meaning;
  for (const Fusion& fusion : kFusions) {
    if (fusion.name == card.fusion) meaning = fusion.meaning;
  }
  add_field(out, style, "fusion", fmt::format("{}: {}", card.fusion, meaning));
  if (!card.base.empty()) add_field(out, style, "graph", fmt::format("that of {}", card.base));
  add_field(out, style, "tasks", fmt::format("{}", fmt::join(card.tasks, ", ")));
  add_field(out, style, "inputs", fmt::format("{}", fmt::join(card.inputs, ", ")));
  add_field(out, style, "vision", card.encoder);
  add_field(out, style, "pixels", card.resolution);
  add_field(out, style, "tokens", card.tokens);
  if (!card.connector.empty()) {
    add_field(out, style, "connector", fmt::format("{}: {}", card.connector, card.connector_detail));
  }
  add_field(out, style, "language", card.language);
  add_list(out, style, "unusual", card.unusual, false);
  std::vector<std::string> stages;
  for (const TrainingStage& stage : card.stages) stages.push_back(stage_line(stage));
  add_list(out, style, "training", stages, true);
  add_field(out, style, "data", fmt::format("{}", fmt::join(card.datasets, ", ")));
  out += "\n";
  add_field(out, style, "paper", card.paper);
  add_field(out, style, "page", card.page);
  add_field(out, style, "code", card.code);
  add_field(out, style, "weights", hub_list(card));
  add_field(out, style, "licence", card.licence);
  return out;
}

nlohmann::ordered_json card_json(const Card& card, const StatusOf& status) {
  nlohmann::ordered_json json;
  auto add = [](nlohmann::ordered_json& object, const char* key, const std::string& value) {
    if (!value.empty()) object[key] = value;
  };
  add(json, "slug", card.slug);
  json["number"] = card.number;
  add(json, "name", card.name);
  json["year"] = card.year;
  if (status) add(json, "status", status(card.slug));
  add(json, "title", card.title);
  add(json, "authors", card.authors);
  add(json, "organisation", card.organisation);
  add(json, "paper", card.paper);
  add(json, "page", card.page);
  add(json, "code", card.code);
  json["weights"] = card.weights;
  add(json, "weights_note", card.weights_note);
  add(json, "licence", card.licence);
  add(json, "parameters", card.parameters);
  add(json, "tagline", card.tagline);
  add(json, "family", card.family);
  add(json, "base", card.base);
  add(json, "fusion", card.fusion);
  json["tasks"] = card.tasks;
  json["inputs"] = card.inputs;
  add(json, "flow", card.flow);
  json["unusual"] = card.unusual;
  json["datasets"] = card.datasets;
  json["vision"] = {{"encoder", card.encoder}, {"resolution", card.resolution}, {"tokens", card.tokens}};
  if (!card.connector.empty()) {
    json["connector"] = {{"kind", card.connector}, {"detail", card.connector_detail}};
  }
  if (!card.language.empty()) json["language"] = {{"model", card.language}};
  nlohmann::ordered_json stages = nlohmann::ordered_json::array();
  for (const TrainingStage& stage : card.stages) {
    nlohmann::ordered_json entry;
    add(entry, "name", stage.name);
    add(entry, "trains", stage.trains);
    add(entry, "data", stage.data);
    add(entry, "notes", stage.notes);
    stages.push_back(entry);
  }
  json["training"] = {{"stages", stages}};
  return json;
}

nlohmann::ordered_json list_json(const StatusOf& status, const std::vector<std::string>& words) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Card* card : choose(words)) json.push_back(card_json(*card, status));
  return json;
}

std::span<const Fusion> fusions() {
  return kFusions;
}

}  // namespace vlm::cli
