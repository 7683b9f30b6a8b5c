// Tokens and their ids, and tries over tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace vlm {

class Json;

// Ids index arrays here, so a file may not leave more holes than this between them.
constexpr int64_t kMaxTokens = int64_t{1} << 23;

class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;
  Vocabulary(const Vocabulary&) = delete;  // the index points into the tokens
  Vocabulary& operator=(const Vocabulary&) = delete;

  // Later tokens of the same text win the text; every id keeps its own. Throws bad_checkpoint, naming
  // `where`, for an id that is negative or far beyond the number of tokens.
  void add(std::string token, int64_t id, const std::string& where);
  void reserve(size_t count);
  void index();  // call once after the last add()

  std::optional<int64_t> find(std::string_view token) const {
    auto found = ids_.find(token);
    if (found == ids_.end()) return std::nullopt;
    return found->second;
  }
  const std::string& token(int64_t id) const {
    return id < 0 || id >= size() ? empty_ : tokens_[static_cast<size_t>(id)];
  }
  bool has(int64_t id) const { return id >= 0 && id < size() && used_[static_cast<size_t>(id)]; }
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }  // largest id + 1
  int64_t count() const { return static_cast<int64_t>(ids_.size()); }    // different tokens
  size_t longest() const { return longest_; }                            // bytes

 private:
  std::vector<std::string> tokens_;
  std::vector<bool> used_;
  std::vector<int64_t> order_;
  std::unordered_map<std::string_view, int64_t> ids_;
  size_t longest_ = 0;
  std::string empty_;
};

// {"token": id, ...}
Vocabulary read_vocabulary(const Json& object);

// A trie over bytes: finds the tokens that a text begins with.
class ByteTrie {
 public:
  static constexpr int32_t kNone = -1;
  void add(std::string_view key, int32_t value) { entries_.emplace_back(std::string(key), value); }
  void build();  // call once after the last add(); of equal keys the last wins
  bool empty() const { return nodes_.size() <= 1; }

  // The node below `node` along `byte`, or kNone; 0 is the root.
  int32_t step(int32_t node, char byte) const;
  int32_t value(int32_t node) const { return nodes_[static_cast<size_t>(node)].value; }  // kNone: not a key

  // The longest key that `text` has at `from`: its value, or kNone; `length` is then its length.
  int32_t longest(std::string_view text, size_t from, size_t& length) const;

 private:
  struct Node {
    int32_t first = 0;  // of its edges
    int32_t count = 0;
    int32_t value = kNone;
  };
  std::vector<std::pair<std::string, int32_t>> entries_;
  std::vector<Node> nodes_ = {Node{}};
  std::vector<unsigned char> labels_;  // edge e leads to node e + 1
  int32_t root_[256] = {};             // 0: no edge
};

}  // namespace vlm
