#include "weights/pickle.h"

#include <gtest/gtest.h>

namespace vlm {
namespace {

using Kind = PickleNode::Kind;

class NoHost final : public PickleHost {
 public:
  bool allows(const std::string& global) const override { return global == "a b"; }
  PickleNode* call(const std::string&, const PickleNode&, PickleArena& arena) override {
    return arena.make(Kind::object);
  }
  PickleNode* resource(const PickleNode&, PickleArena& arena) override { return arena.make(Kind::resource); }
};

struct Pickle {
  std::string text;
  NoHost host;
  PickleArena arena;

  PickleNode* read() {
    ByteReader reader(std::as_bytes(std::span(text)), "x.pkl");
    return read_pickle(reader, "x.pkl", host, arena);
  }
  std::string refusal() {
    try {
      read();
      return "";
    } catch (const Error& error) {
      return error.message();
    }
  }
};

TEST(Pickle, ReadsPlainData) {
  Pickle pickle{
      std::string("\x80\x02}q\0(U\1aK\5X\1\0\0\0bJ\xfe\xff\xff\xff\x8c\1c\x8a\2\0\x80u.", 31), {}, {}};
  PickleNode* dict = pickle.read();
  ASSERT_EQ(dict->kind, Kind::dict);
  ASSERT_EQ(dict->items.size(), 6u);
  EXPECT_EQ(dict->items[0]->text, "a");
  EXPECT_EQ(dict->items[1]->integer, 5);
  EXPECT_EQ(dict->items[3]->integer, -2);
  EXPECT_EQ(dict->items[5]->integer, -32768);
}

TEST(Pickle, ReadsNumbersListsAndObjects) {
  Pickle pickle{
      std::string("\x80\x04]\x94(G\x3f\xf8\0\0\0\0\0\0\x88\x89Nh\0ca\nb\n)\x81}U\1kK\1sbe.", 37), {}, {}};
  PickleNode* list = pickle.read();
  ASSERT_EQ(list->items.size(), 6u);
  EXPECT_EQ(list->items[0]->real, 1.5);
  EXPECT_EQ(list->items[1]->integer, 1);
  EXPECT_EQ(list->items[2]->integer, 0);
  EXPECT_EQ(list->items[3]->kind, Kind::none);
  EXPECT_EQ(list->items[4], list);  // a list may hold itself
  EXPECT_EQ(list->items[5]->kind, Kind::object);
  EXPECT_EQ(list->items[5]->items.size(), 2u);
}

TEST(Pickle, SaysWhatItRefuses) {
  auto refusal = [](std::string text) { return Pickle{std::move(text), {}, {}}.refusal(); };
  EXPECT_EQ(refusal("cposix\nsystem\n."),
            "x.pkl: the file wants to use posix.system, which is not among the names that weights need; "
            "nothing was "
            "executed");
  EXPECT_EQ(refusal("\x8c\x05posix\x8c\x06system\x93."),
            "x.pkl: the file wants to use posix.system, which is not among the names that weights need; "
            "nothing was "
            "executed");
  EXPECT_EQ(
      refusal("i."),
      "x.pkl: the pickle opcode 0x69 at byte 0 is not one that torch.save writes; nothing was executed");
  EXPECT_EQ(refusal("."), "x.pkl: pickle opcode at byte 0: the stack is empty");
  EXPECT_EQ(refusal("(."), "x.pkl: pickle opcode at byte 1: the stack is empty");
  EXPECT_EQ(refusal("K\1(."), "x.pkl: pickle opcode at byte 3: the stack is empty");
  EXPECT_EQ(refusal("t."), "x.pkl: pickle opcode at byte 0: no mark was set");
  EXPECT_EQ(refusal("}K\1K\2K\3s."),
            "x.pkl: pickle opcode at byte 7: expected a dictionary, found an integer");
  EXPECT_EQ(refusal("}(K\1u."), "x.pkl: pickle opcode at byte 4: a key without a value");
  EXPECT_EQ(refusal("h\5."), "x.pkl: pickle opcode at byte 0: memo 5 was never set");
  EXPECT_EQ(refusal("K\1)R."), "x.pkl: pickle opcode at byte 3: calls an integer with a tuple");
  EXPECT_EQ(refusal("X\xff\xff\xff\xff"), "x.pkl: a pickle at byte 5 needs 4294967295 bytes, 0 are left");
  EXPECT_EQ(refusal(""), "x.pkl: a pickle at byte 0 needs 1 bytes, 0 are left");
}

TEST(Pickle, LimitsWhatAShortFileCanBuild) {
  Pickle many{std::string(5'000'000, 'N'), {}, {}};
  EXPECT_EQ(many.refusal(), "a pickle of more than 4000000 values is no state dict");
  // one dictionary of 100 000 entries, copied into an object again and again
  std::string text = "}q\1(";
  for (int idx = 0; idx < 100'000; ++idx) text += "NN";
  text += "uca\nb\n)\x81";
  for (int idx = 0; idx < 1'000; ++idx) text += "h\1b";
  Pickle copies{text, {}, {}};
  EXPECT_EQ(copies.refusal(), "a pickle that copies more than 4000000 values is no state dict");
}

}  // namespace
}  // namespace vlm
