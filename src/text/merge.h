// Byte-pair merging: always the pair of lowest rank, of those the leftmost, with a heap over a linked list.
#pragma once

#include <algorithm>
#include <cstdint>
#include <queue>
#include <vector>

namespace vlm {

struct Symbol {
  int64_t id = -1;
  uint32_t begin = 0;   // bytes within the word
  uint32_t length = 0;  // 0: merged into its left neighbour
  int32_t previous = -1;
  int32_t next = -1;
};

struct Merge {
  uint32_t rank = UINT32_MAX;  // UINT32_MAX: the pair does not merge
  int64_t id = -1;
};

inline void add_symbol(std::vector<Symbol>& symbols, int64_t id, size_t begin, size_t length) {
  auto index = static_cast<int32_t>(symbols.size());
  if (index > 0) symbols.back().next = index;
  symbols.push_back({id, static_cast<uint32_t>(begin), static_cast<uint32_t>(length), index - 1, -1});
}

// rule(left, right) -> Merge. What is left are the symbols whose length is not 0.
template <typename Rule>
void merge_symbols(std::vector<Symbol>& symbols, Rule&& rule) {
  struct Entry {
    uint32_t rank;
    int32_t left;
    uint32_t length;  // of both; another length means that one of them has grown since
    int64_t id;
    bool operator<(const Entry& other) const {  // priority_queue gives the largest first
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  std::vector<Entry> entries;
  auto entry_of = [&](int32_t left, int32_t right, Entry& entry) {
    const Symbol& one = symbols[static_cast<size_t>(left)];
    const Symbol& two = symbols[static_cast<size_t>(right)];
    Merge merge = rule(one, two);
    entry = {merge.rank, left, one.length + two.length, merge.id};
    return merge.rank != UINT32_MAX;
  };
  Entry entry;
  for (size_t index = 1; index < symbols.size(); ++index)
    if (entry_of(static_cast<int32_t>(index) - 1, static_cast<int32_t>(index), entry))
      entries.push_back(entry);
  std::priority_queue<Entry> agenda(std::less<Entry>(), std::move(entries));
  while (!agenda.empty()) {
    Entry top = agenda.top();
    agenda.pop();
    Symbol& left = symbols[static_cast<size_t>(top.left)];
    if (left.length == 0 || left.next < 0) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    if (left.length + right.length != top.length) continue;
    left.id = top.id;
    left.length += right.length;
    right.length = 0;
    left.next = right.next;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = top.left;
    if (left.previous >= 0 && entry_of(left.previous, top.left, entry)) agenda.push(entry);
    if (left.next >= 0 && entry_of(top.left, left.next, entry)) agenda.push(entry);
  }
}

}  // namespace vlm
