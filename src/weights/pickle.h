// A reader of Python's pickle format that builds plain data and executes nothing: a global is a name, and
// what "calling" it means is decided by the host, from a closed list. ref: https://peps.python.org/pep-0307/,
// https://peps.python.org/pep-3154/
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "weights/source_bytes.h"

namespace vlm {

struct PickleNode {
  enum class Kind { none, boolean, integer, real, text, bytes, list, tuple, dict, global, object, resource };
  Kind kind = Kind::none;
  int64_t integer = 0;             // boolean, integer; resource: the host's number for it
  double real = 0;                 // real
  std::string text;                // text; bytes, and integers wider than 64 bits; global: "module name"
  std::vector<PickleNode*> items;  // list, tuple; dict, object: key, value, key, value, ...
};

const char* kind_word(PickleNode::Kind kind);  // "a list", for messages

// Nodes may form cycles and shared subtrees, as Python's objects do; the arena owns them.
class PickleArena {
 public:
  PickleNode* make(PickleNode::Kind kind);  // throws bad_checkpoint when there are too many
  // Appends a copy of `from`. What is copied is counted: a short pickle can copy one long list many times.
  void extend(std::vector<PickleNode*>& items, const std::vector<PickleNode*>& from);

 private:
  std::deque<PickleNode> nodes_;
  size_t copied_ = 0;
};

class PickleHost {
 public:
  virtual ~PickleHost() = default;
  virtual bool allows(const std::string& global) const = 0;
  // The value that stands for `global(*arguments)`.
  virtual PickleNode* call(const std::string& global, const PickleNode& arguments, PickleArena& arena) = 0;
  // The value that stands for a persistent id.
  virtual PickleNode* resource(const PickleNode& id, PickleArena& arena) = 0;
};

// Reads one pickle; afterwards the reader stands behind it. `name` begins messages.
PickleNode* read_pickle(ByteReader& reader, const std::string& name, PickleHost& host, PickleArena& arena);

}  // namespace vlm
