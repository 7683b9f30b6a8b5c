// The authors' post-processing is a set of regular expressions over the decoded text. Here the text is cut
// into words and marks once, and each notation is read from that list; the expression it follows stands
// beside it.
#include "models/florence/notation.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace vlm::florence {

namespace {

constexpr std::string_view kBlanks = " \t\n\r\v\f";
constexpr size_t kFewest = 4;  // marks that make a place

struct Item {
  enum class Kind { words, bin, separator, open, close, other } kind;
  std::string_view words;
  int64_t bin = 0;
  bool is_mark() const { return kind != Kind::words && kind != Kind::other; }
};
using Items = std::vector<Item>;

Items items_of(std::string_view text) {
  Items items;
  while (!text.empty()) {
    size_t end = text.find('<');
    if (end != 0) {
      end = std::min(end, text.size());
      items.push_back({Item::Kind::words, text.substr(0, end)});
      text.remove_prefix(end);
      continue;
    }
    std::string_view tag = text.substr(0, text.find('>') == text.npos ? 1 : text.find('>') + 1);
    Item item{Item::Kind::other, text.substr(0, 1)};
    if (tag.starts_with("<loc_") && tag.size() > 6 && tag.size() < 16 &&
        tag.find_first_not_of("0123456789", 5) == tag.size() - 1) {
      item.kind = Item::Kind::bin;
      for (char digit : tag.substr(5, tag.size() - 6)) item.bin = item.bin * 10 + (digit - '0');
    } else if (tag == "<sep>") {
      item.kind = Item::Kind::separator;
    } else if (tag == "<poly>") {
      item.kind = Item::Kind::open;
    } else if (tag == "</poly>") {
      item.kind = Item::Kind::close;
    }
    items.push_back(item);
    text.remove_prefix(item.is_mark() ? tag.size() : 1);
  }
  return items;
}

std::string_view stripped(std::string_view text) {
  size_t begin = text.find_first_not_of(kBlanks);
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

// Labels lose what is not ASCII, as the authors' do.
std::string ascii(std::string_view text) {
  std::string label;
  std::copy_if(text.begin(), text.end(), std::back_inserter(label),
               [](char byte) { return static_cast<unsigned char>(byte) < 0x80; });
  return label;
}

// Words that point at something, but name nothing.
bool is_pointer(std::string_view phrase) {
  static constexpr std::string_view kWords[] = {
      "it",       "I",          "me",         "mine",       "you",        "your",        "yours",
      "he",       "him",        "his",        "she",        "her",        "hers",        "they",
      "them",     "their",      "theirs",     "one",        "oneself",    "we",          "us",
      "our",      "ours",       "its",        "myself",     "yourself",   "himself",     "herself",
      "itself",   "ourselves",  "yourselves", "themselves", "this",       "that",        "these",
      "those",    "who",        "whom",       "whose",      "which",      "what",        "all",
      "another",  "any",        "anybody",    "anyone",     "anything",   "each",        "everybody",
      "everyone", "everything", "few",        "many",       "nobody",     "none",        "several",
      "some",     "somebody",   "someone",    "something",  "each other", "one another", "the image",
      "image",    "images",     "the",        "a",          "an",         "a group",     "other objects",
      "lots",     "a set"};
  return std::find(std::begin(kWords), std::end(kWords), phrase) != std::end(kWords);
}

struct Reader {
  double scale_x, scale_y;

  // The middle of its bin.
  Point point(const Item& x, const Item& y) const {
    return {(static_cast<double>(x.bin) + 0.5) * scale_x, (static_cast<double>(y.bin) + 0.5) * scale_y};
  }

  // Words and the run of marks that follows them: [^<]+(?:<loc_\d+>){4,}, or the run alone.
  struct Run {
    std::string_view words;
    const Item* begin;
    const Item* end;
  };
  static std::vector<Run> runs(const Items& items, bool needs_words, bool bins_alone) {
    std::vector<Run> found;
    auto belongs = [&](const Item& item) {
      return bins_alone ? item.kind == Item::Kind::bin : item.is_mark();
    };
    for (size_t at = 0; at < items.size();) {
      if (!belongs(items[at])) {
        ++at;
        continue;
      }
      size_t end = at;
      while (end < items.size() && belongs(items[end])) ++end;
      bool has_words = at > 0 && items[at - 1].kind == Item::Kind::words;
      if (end - at >= kFewest && (has_words || !needs_words))
        found.push_back({needs_words ? items[at - 1].words : "", &items[at], &items[0] + end});
      at = end;
    }
    return found;
  }

  std::vector<Region> boxes(const Items& items, bool has_labels, bool leaves_out_pointers) const {
    std::vector<Region> regions;
    for (const Run& run : runs(items, has_labels, /*bins_alone=*/true)) {
      if (leaves_out_pointers && is_pointer(stripped(run.words))) continue;
      for (const Item* item = run.begin; run.end - item >= 4; item += 4) {
        Region region;
        region.label = ascii(stripped(run.words));
        Point low = point(item[0], item[1]), high = point(item[2], item[3]);
        region.box_xyxy = {low.x, low.y, high.x, high.y};
        regions.push_back(std::move(region));
      }
    }
    return regions;
  }

  // (.+?)<loc_(\d+)> eight times: whatever stands before the first eight bins in a row.
  std::vector<Region> quads(const Items& items) const {
    std::vector<Region> regions;
    std::string words;
    for (size_t at = 0; at < items.size();) {
      size_t end = at;
      while (end < items.size() && end < at + 8 && items[end].kind == Item::Kind::bin) ++end;
      if (end < at + 8 || words.empty()) {
        words += items[at].kind == Item::Kind::bin ? fmt::format("<loc_{}>", items[at].bin)
                                                   : std::string(items[at].words);
        ++at;
        continue;
      }
      Region region;
      region.label = stripped(words);
      region.quad.emplace();
      for (size_t corner = 0; corner < 4; ++corner) {
        Point place = point(items[at + 2 * corner], items[at + 2 * corner + 1]);
        (*region.quad)[2 * corner] = place.x, (*region.quad)[2 * corner + 1] = place.y;
      }
      regions.push_back(std::move(region));
      words.clear();
      at = end;
    }
    return regions;
  }

  // ((?:<loc_\d+>)+)(?:<sep>|$): bins up to a separator or the end; an odd last one is dropped.
  std::vector<std::vector<Point>> parts(const Item* begin, const Item* end) const {
    std::vector<std::vector<Point>> found;
    std::vector<Point> corners;
    const Item* odd = nullptr;
    for (const Item* item = begin;; ++item) {
      if (item != end && item->kind == Item::Kind::bin) {
        if (odd) corners.push_back(point(*odd, *item));
        odd = odd ? nullptr : item;
        continue;
      }
      bool ends_part = item == end || item->kind == Item::Kind::separator;
      if (ends_part && !corners.empty()) found.push_back(corners);
      corners.clear(), odd = nullptr;
      if (item == end) return found;
    }
  }

  // <poly> ... </poly> holds one object; without both, the whole run does.
  std::vector<Region> polygons(const Items& items, bool has_labels) const {
    std::vector<Region> regions;
    for (const Run& run : runs(items, has_labels, /*bins_alone=*/false)) {
      auto add = [&](const Item* begin, const Item* end) {
        Region region;
        region.label = stripped(run.words);
        region.polygons = parts(begin, end);
        if (!region.polygons.empty()) regions.push_back(std::move(region));
      };
      auto next = [&](const Item* from, Item::Kind kind) {
        return std::find_if(from, run.end, [&](const Item& item) { return item.kind == kind; });
      };
      const Item* open = next(run.begin, Item::Kind::open);
      if (open == run.end || next(run.begin, Item::Kind::close) == run.end) {
        add(run.begin, run.end);
        continue;
      }
      while (open != run.end) {
        const Item* close = next(open, Item::Kind::close);
        if (close == run.end) break;
        add(open + 1, close);
        open = next(close, Item::Kind::open);
      }
    }
    return regions;
  }
};

std::vector<Region> regions_of(const std::string& text, Notation notation, const Reader& reader) {
  Items items = items_of(text);
  switch (notation) {
    case Notation::text:
      return {};
    case Notation::labelled_boxes:
      return reader.boxes(items, /*has_labels=*/true, /*leaves_out_pointers=*/false);
    case Notation::phrases:
      return reader.boxes(items, /*has_labels=*/true, /*leaves_out_pointers=*/true);
    case Notation::boxes:
      return reader.boxes(items, /*has_labels=*/false, /*leaves_out_pointers=*/false);
    case Notation::quads:
      return reader.quads(items);
    case Notation::polygons:
      return reader.polygons(items, /*has_labels=*/false);
    case Notation::labelled_boxes_or_polygons:
      return text.find("<poly>") != std::string::npos
                 ? reader.polygons(items, /*has_labels=*/true)
                 : reader.boxes(items, /*has_labels=*/true, /*leaves_out_pointers=*/false);
  }
  return {};
}

}  // namespace

ParsedAnswer read_notation(const std::string& text, Notation notation, int64_t height, int64_t width) {
  ParsedAnswer answer;
  if (notation == Notation::text) {
    answer.text = stripped(text);
    return answer;
  }
  Reader reader{static_cast<double>(width) / 1000, static_cast<double>(height) / 1000};
  answer.regions = regions_of(text, notation, reader);
  for (const Region& region : answer.regions)
    answer.text += (answer.text.empty() || region.label.empty() ? "" : ", ") + region.label;
  return answer;
}

}  // namespace vlm::florence
