#include "weights/pickle.h"

#include <algorithm>
#include <unordered_map>

namespace vlm {

namespace {

using Kind = PickleNode::Kind;

constexpr size_t kMaxNodes = 4'000'000;  // the largest published checkpoints have some 100 000
constexpr uint8_t kHighestProtocol = 5;
constexpr const char* kForeignHint =
    "use a safetensors publication, or save only the state dict with torch.save";

class Machine {
 public:
  Machine(ByteReader& reader, const std::string& name, PickleHost& host, PickleArena& arena)
      : reader_(reader), name_(name), host_(host), arena_(arena) {}

  PickleNode* run() {
    for (;;) {
      opcode_at_ = reader_.position();
      auto opcode = reader_.number<uint8_t>(kWhat);
      if (opcode == '.') return pop();
      if (!constant(opcode) && !container(opcode) && !memory(opcode) && !object(opcode))
        fail(ErrorKind::bad_checkpoint, kForeignHint,
             "{}: the pickle opcode {:#04x} at byte {} is not one that torch.save writes; nothing was "
             "executed",
             name_, opcode, opcode_at_);
    }
  }

 private:
  static constexpr const char* kWhat = "a pickle";

  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorKind::bad_checkpoint, kDamagedHint, "{}: pickle opcode at byte {}: {}", name_, opcode_at_,
         what);
  }

  // --- the stack; a mark is the height at which it was set
  void push(PickleNode* node) { stack_.push_back(node); }
  PickleNode* push_new(Kind kind) {
    push(arena_.make(kind));
    return stack_.back();
  }
  PickleNode* top() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("the stack is empty");
    return stack_.back();
  }
  PickleNode* pop() {
    PickleNode* node = top();
    stack_.pop_back();
    return node;
  }
  std::vector<PickleNode*> pop_to_mark() {
    if (marks_.empty()) refuse("no mark was set");
    auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleNode*> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::vector<PickleNode*> pop_many(size_t count) {
    std::vector<PickleNode*> items(count);
    for (size_t idx = count; idx-- > 0;) items[idx] = pop();
    return items;
  }
  void push_items(Kind kind, std::vector<PickleNode*> items) { push_new(kind)->items = std::move(items); }
  PickleNode* top_of(std::initializer_list<Kind> kinds, const char* wanted) {
    PickleNode* node = top();
    if (std::find(kinds.begin(), kinds.end(), node->kind) == kinds.end())
      refuse(fmt::format("expected {}, found {}", wanted, kind_word(node->kind)));
    return node;
  }

  // --- opcodes, by what they do; each group says whether the opcode was its
  bool constant(uint8_t opcode) {
    switch (opcode) {
      case 'N':
        push_new(Kind::none);
        return true;
      case 0x88:  // NEWTRUE
      case 0x89:
        push_new(Kind::boolean)->integer = opcode == 0x88;
        return true;
      case 'J':
        push_new(Kind::integer)->integer = reader_.number<int32_t>(kWhat);
        return true;
      case 'K':
        push_new(Kind::integer)->integer = reader_.number<uint8_t>(kWhat);
        return true;
      case 'M':
        push_new(Kind::integer)->integer = reader_.number<uint16_t>(kWhat);
        return true;
      case 0x8a:  // LONG1
        push_long(reader_.number<uint8_t>(kWhat));
        return true;
      case 0x8b:  // LONG4
        push_long(reader_.number<uint32_t>(kWhat));
        return true;
      case 'G': {
        auto bits = __builtin_bswap64(reader_.number<uint64_t>(kWhat));
        push_new(Kind::real)->real = std::bit_cast<double>(bits);
        return true;
      }
      case 'U':
      case 0x8c:  // SHORT_BINUNICODE
        push_text(Kind::text, reader_.number<uint8_t>(kWhat));
        return true;
      case 'T':
      case 'X':
        push_text(Kind::text, reader_.number<uint32_t>(kWhat));
        return true;
      case 0x8d:  // BINUNICODE8
        push_text(Kind::text, reader_.number<uint64_t>(kWhat));
        return true;
      case 'C':
        push_text(Kind::bytes, reader_.number<uint8_t>(kWhat));
        return true;
      case 'B':
        push_text(Kind::bytes, reader_.number<uint32_t>(kWhat));
        return true;
      case 0x8e:  // BINBYTES8
      case 0x96:  // BYTEARRAY8
        push_text(Kind::bytes, reader_.number<uint64_t>(kWhat));
        return true;
      default:
        return false;
    }
  }

  void push_text(Kind kind, uint64_t count) {
    std::string_view text = reader_.text(count, kWhat);
    push_new(kind)->text = text;
  }

  void push_long(uint64_t count) {
    std::string_view digits = reader_.text(count, kWhat);
    PickleNode* node = push_new(Kind::integer);
    if (count > sizeof(int64_t)) {
      node->kind = Kind::bytes;
      node->text = digits;
      return;
    }
    uint64_t value = !digits.empty() && (digits.back() & 0x80) ? ~uint64_t{0} : 0;
    std::memcpy(&value, digits.data(), count);
    node->integer = static_cast<int64_t>(value);
  }

  bool container(uint8_t opcode) {
    switch (opcode) {
      case ']':
      case 0x8f:  // EMPTY_SET
        push_new(Kind::list);
        return true;
      case ')':
        push_new(Kind::tuple);
        return true;
      case '}':
        push_new(Kind::dict);
        return true;
      case 'l':
        push_items(Kind::list, pop_to_mark());
        return true;
      case 't':
      case 0x91:  // FROZENSET
        push_items(Kind::tuple, pop_to_mark());
        return true;
      case 0x85:
      case 0x86:
      case 0x87:  // TUPLE1, 2, 3
        push_items(Kind::tuple, pop_many(opcode - 0x84u));
        return true;
      case 'd': {
        auto items = pop_to_mark();
        check_pairs(items);
        push_items(Kind::dict, std::move(items));
        return true;
      }
      case 'a':
        append(pop_many(1), {Kind::list}, "a list");
        return true;
      case 'e':
      case 0x90:  // ADDITEMS
        append(pop_to_mark(), {Kind::list}, "a list");
        return true;
      case 's':
        append(pop_many(2), {Kind::dict}, "a dictionary");
        return true;
      case 'u': {
        auto items = pop_to_mark();
        check_pairs(items);
        append(items, {Kind::dict}, "a dictionary");
        return true;
      }
      default:
        return false;
    }
  }

  void check_pairs(const std::vector<PickleNode*>& items) const {
    if (items.size() % 2 != 0) refuse("a key without a value");
  }
  void append(const std::vector<PickleNode*>& items, std::initializer_list<Kind> kinds, const char* wanted) {
    auto& target = top_of(kinds, wanted)->items;
    target.insert(target.end(), items.begin(), items.end());
  }

  bool memory(uint8_t opcode) {
    switch (opcode) {
      case 0x80: {  // PROTO
        auto protocol = reader_.number<uint8_t>(kWhat);
        if (protocol > kHighestProtocol) refuse(fmt::format("protocol {} is not known", protocol));
        return true;
      }
      case 0x95:  // FRAME
        reader_.number<uint64_t>(kWhat);
        return true;
      case '(':
        marks_.push_back(stack_.size());
        return true;
      case '0':
        if (!marks_.empty() && marks_.back() == stack_.size())
          marks_.pop_back();
        else
          pop();
        return true;
      case '1':
        pop_to_mark();
        return true;
      case '2':
        push(top());
        return true;
      case 'q':
        memo_[reader_.number<uint8_t>(kWhat)] = top();
        return true;
      case 'r':
        memo_[reader_.number<uint32_t>(kWhat)] = top();
        return true;
      case 0x94:  // MEMOIZE
        memo_[static_cast<uint32_t>(memo_.size())] = top();
        return true;
      case 'h':
        push(remembered(reader_.number<uint8_t>(kWhat)));
        return true;
      case 'j':
        push(remembered(reader_.number<uint32_t>(kWhat)));
        return true;
      default:
        return false;
    }
  }

  PickleNode* remembered(uint32_t number) const {
    auto found = memo_.find(number);
    if (found == memo_.end()) refuse(fmt::format("memo {} was never set", number));
    return found->second;
  }

  bool object(uint8_t opcode) {
    switch (opcode) {
      case 'c': {
        std::string module = line();
        push_global(module, line());
        return true;
      }
      case 0x93: {  // STACK_GLOBAL
        PickleNode* name = pop();
        PickleNode* module = pop();
        if (name->kind != Kind::text || module->kind != Kind::text) refuse("a global's name is not text");
        push_global(module->text, name->text);
        return true;
      }
      case 'R':
      case 0x81: {  // REDUCE, NEWOBJ
        PickleNode* arguments = pop();
        PickleNode* callee = pop();
        if (arguments->kind != Kind::tuple || callee->kind != Kind::global)
          refuse(fmt::format("calls {} with {}", kind_word(callee->kind), kind_word(arguments->kind)));
        push(host_.call(callee->text, *arguments, arena_));
        return true;
      }
      case 'b': {  // BUILD: attributes of an object; those of tensors and dictionaries have no effect on
                   // values
        PickleNode* state = pop();
        PickleNode* target = top();
        if (target->kind == Kind::object && state->kind == Kind::dict)
          arena_.extend(target->items, state->items);
        return true;
      }
      case 'Q': {
        PickleNode* id = pop();
        push(host_.resource(*id, arena_));
        return true;
      }
      default:
        return false;
    }
  }

  std::string line() {
    constexpr size_t kLongest = 1000;
    std::string text;
    for (;;) {
      char letter = reader_.number<char>(kWhat);
      if (letter == '\n') return text;
      if (text.size() >= kLongest) refuse("a global's name has no end");
      text += letter;
    }
  }

  void push_global(const std::string& module, const std::string& name) {
    std::string global = module + " " + name;
    if (!host_.allows(global))
      fail(ErrorKind::bad_checkpoint, kForeignHint,
           "{}: the file wants to use {}.{}, which is not among the names that weights need; nothing was "
           "executed",
           name_, quoted_name(module), quoted_name(name));
    push_new(Kind::global)->text = std::move(global);
  }

  ByteReader& reader_;
  const std::string& name_;
  PickleHost& host_;
  PickleArena& arena_;
  size_t opcode_at_ = 0;
  std::vector<PickleNode*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, PickleNode*> memo_;
};

}  // namespace

const char* kind_word(Kind kind) {
  constexpr const char* kWords[] = {"nothing",      "a boolean", "an integer", "a number",
                                    "a text",       "bytes",     "a list",     "a tuple",
                                    "a dictionary", "a name",    "an object",  "a resource"};
  return kWords[static_cast<size_t>(kind)];
}

PickleNode* PickleArena::make(Kind kind) {
  if (nodes_.size() >= kMaxNodes)
    fail(ErrorKind::bad_checkpoint, kForeignHint, "a pickle of more than {} values is no state dict",
         kMaxNodes);
  nodes_.emplace_back().kind = kind;
  return &nodes_.back();
}

void PickleArena::extend(std::vector<PickleNode*>& items, const std::vector<PickleNode*>& from) {
  copied_ += from.size();
  if (copied_ > kMaxNodes)
    fail(ErrorKind::bad_checkpoint, kForeignHint, "a pickle that copies more than {} values is no state dict",
         kMaxNodes);
  items.insert(items.end(), from.begin(), from.end());
}

PickleNode* read_pickle(ByteReader& reader, const std::string& name, PickleHost& host, PickleArena& arena) {
  return Machine(reader, name, host, arena).run();
}

}  // namespace vlm
