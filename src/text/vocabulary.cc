#include "text/vocabulary.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace vlm {

void Vocabulary::reserve(size_t count) {
  tokens_.reserve(count);
  used_.reserve(count);
  order_.reserve(count);
}

void Vocabulary::add(std::string token, int64_t id, const std::string& where) {
  if (id < 0 || id >= kMaxTokens)
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: the token \"{}\" has the id {}, expected one within 0..{}", where, token.substr(0, 40), id,
         kMaxTokens - 1);
  if (id >= size()) {
    tokens_.resize(static_cast<size_t>(id) + 1);
    used_.resize(static_cast<size_t>(id) + 1);
  }
  longest_ = std::max(longest_, token.size());
  tokens_[static_cast<size_t>(id)] = std::move(token);
  used_[static_cast<size_t>(id)] = true;
  order_.push_back(id);
}

void Vocabulary::index() {
  ids_.reserve(order_.size());
  for (int64_t id : order_) ids_[tokens_[static_cast<size_t>(id)]] = id;
  order_ = {};
}

Vocabulary read_vocabulary(const Json& object) {
  if (!object.is_object())
    fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
         "{}: expected an object of tokens and ids", object.path());
  Vocabulary vocabulary;
  const auto& raw = object.raw();
  vocabulary.reserve(raw.size());
  // Holes are allowed, but not so many that a small file takes much memory.
  int64_t most = static_cast<int64_t>(raw.size()) * 8 + (1 << 16);
  for (const auto& [token, id] : raw.items()) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() > most)
      fail(ErrorKind::bad_checkpoint, "compare the file with the published one",
           "{}: the token \"{}\" has the id {}, expected an integer within 0..{}", object.path(),
           token.substr(0, 40),
           id.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).substr(0, 40), most);
    vocabulary.add(token, id.get<int64_t>(), object.path());
  }
  vocabulary.index();
  return vocabulary;
}

void ByteTrie::build() {
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const auto& left, const auto& right) { return left.first < right.first; });
  // Breadth first, so that the edges of a node lie side by side and edge e leads to node e + 1.
  struct Range {
    size_t begin, end, depth;
  };
  std::vector<Range> ranges = {{0, entries_.size(), 0}};
  for (size_t node = 0; node < nodes_.size(); ++node) {
    auto [at, end, depth] = ranges[node];
    for (; at < end && entries_[at].first.size() == depth; ++at) nodes_[node].value = entries_[at].second;
    nodes_[node].first = static_cast<int32_t>(labels_.size());
    while (at < end) {
      auto label = static_cast<unsigned char>(entries_[at].first[depth]);
      size_t next = at;
      while (next < end && static_cast<unsigned char>(entries_[next].first[depth]) == label) ++next;
      if (node == 0) root_[label] = static_cast<int32_t>(nodes_.size());
      labels_.push_back(label);
      nodes_.push_back({});
      ranges.push_back({at, next, depth + 1});
      at = next;
    }
    nodes_[node].count = static_cast<int32_t>(labels_.size()) - nodes_[node].first;
  }
  entries_ = {};
}

int32_t ByteTrie::step(int32_t node, char byte) const {
  auto label = static_cast<unsigned char>(byte);
  if (node == 0) return root_[label] == 0 ? kNone : root_[label];
  const Node& from = nodes_[static_cast<size_t>(node)];
  auto first = labels_.begin() + from.first;
  auto last = first + from.count;
  auto found = std::lower_bound(first, last, label);
  if (found == last || *found != label) return kNone;
  return static_cast<int32_t>(found - labels_.begin()) + 1;
}

int32_t ByteTrie::longest(std::string_view text, size_t from, size_t& length) const {
  int32_t found = kNone;
  int32_t node = 0;
  for (size_t at = from; at < text.size(); ++at) {
    node = step(node, text[at]);
    if (node == kNone) break;
    if (value(node) != kNone) {
      found = value(node);
      length = at + 1 - from;
    }
  }
  return found;
}

}  // namespace vlm
