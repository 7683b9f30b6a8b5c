// The catalogue of systems for the command line: facts from catalog/*.toml, embedded at build time.
// Nothing here loads the engine, so `vlm list` and `vlm show` answer at once; what works is not written in
// the cards but told by the caller.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vlm::cli {

struct TrainingStage {
  std::string name;
  std::string trains;
  std::string data;   // may be empty
  std::string notes;  // may be empty
};

// One file of catalog/, same names and order. Strings and lists may be empty where nothing is known.
struct Card {
  std::string slug;
  int number = 0;  // place in the list of 70
  std::string name;
  int year = 0;
  std::string title;
  std::string authors;
  std::string organisation;
  std::string paper;  // address of the paper
  std::string page;   // blog post or model card where there is no paper
  std::string code;
  std::vector<std::string> weights;  // hub ids
  std::string weights_note;
  std::string licence;
  std::string parameters;

  std::string tagline;
  std::string family;  // folder under src/models
  std::string base;    // slug of the system whose graph this is
  std::string fusion;
  std::vector<std::string> tasks;
  std::vector<std::string> inputs;
  std::string flow;  // steps joined by " -> ", branches by "; "
  std::vector<std::string> unusual;
  std::vector<std::string> datasets;

  std::string encoder;
  std::string resolution;
  std::string tokens;
  std::string connector;
  std::string connector_detail;
  std::string language;
  std::vector<TrainingStage> stages;
};

// Throws internal when the text is not TOML, a key is unknown, or a mandatory one is missing.
Card parse_card(std::string_view text, const std::string& file);

const std::vector<Card>& all_cards();  // by number; parsed on the first call (a few milliseconds)

// `name` may be a slug, a name or a hub id, in any case. Throws not_found with the nearest slug.
Card find_card(const std::string& name);

// What the program knows about a slug beyond the card: "works", "2 of 3 cases", ... Empty function: not
// shown.
using StatusOf = std::function<std::string(const std::string& slug)>;

struct TextStyle {
  bool colour = false;
  int width = 80;  // of the terminal; at least 40 is assumed
};

// One line per system whose card holds all `words` (slug, family, fusion, task, input, year, ...).
// Throws not_found when none does.
std::string list_text(const TextStyle& style, const StatusOf& status,
                      const std::vector<std::string>& words = {});
std::string card_text(const Card& card, const TextStyle& style, const StatusOf& status);

nlohmann::ordered_json card_json(const Card& card, const StatusOf& status);
nlohmann::ordered_json list_json(const StatusOf& status, const std::vector<std::string>& words = {});

// The ways in which a picture reaches the answer, each with one line of explanation.
struct Fusion {
  std::string_view name;
  std::string_view meaning;
};
std::span<const Fusion> fusions();

// Defined by the generated file (cmake/embed_catalog.cmake), in the order of the slugs.
struct EmbeddedCard {
  std::string_view slug;
  std::string_view text;
};
std::span<const EmbeddedCard> embedded_cards();

}  // namespace vlm::cli
