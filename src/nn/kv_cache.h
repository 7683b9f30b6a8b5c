// Keys and values of one sequence, all layers; and how sequences lie in one packed run of tokens.
#pragma once

#include <vector>

#include "ops/attention.h"

namespace vlm::nn {

class KvCache {
 public:
  ops::KvPrecision precision() const { return precision_; }
  void set_precision(ops::KvPrecision precision);  // another one than before: forgets everything
  // Makes room for `length` rows, so that appending up to there neither allocates nor copies. Memory that
  // holds no rows yet costs nothing.
  void reserve(int64_t length) { reserved_ = length; }

  // Rows already stored; the same for every layer between forward passes.
  int64_t length() const { return length_; }
  // Appends k [t, G, E] and v [t, G, Ev] behind `length()` rows of `layer`; returns everything stored so far,
  // [1, length + t, ...]. In tiles (ops::attends_in_tiles): how 16 bits are kept if these are the layer's
  // first rows.
  ops::KeyValues append(int64_t layer, const Tensor& k_TGE, const Tensor& v_TGE, bool in_tiles = false);
  void advance(int64_t num_tokens) { length_ += num_tokens; }  // after the last layer
  void truncate(int64_t length);                               // forgets what follows; keeps the memory
  // Repeats the rows it has until they are `length`: a long context without a long prompt, for measuring.
  void stretch(int64_t length);
  int64_t bytes() const;  // of the rows stored
  KvCache clone() const;  // rows of its own; a plain copy would share them

 private:
  struct Layer {
    ops::KvStore k, v;
    int64_t value_width = 0;
  };
  std::vector<Layer> layers_;
  ops::KvPrecision precision_ = ops::KvPrecision::f32;
  int64_t length_ = 0, reserved_ = 0;
};

// Tokens of several sequences, one behind the other along one axis T: no padding, and what one sequence
// computes does not depend on its neighbours.
struct Packed {
  struct Span {
    int64_t count = 0;         // tokens of this sequence in this pass
    KvCache* cache = nullptr;  // null: a pass without memory (training, encoders, scoring)
    int64_t prefix = 0;        // the first keys seen by every query (prefix-LM), in the sequence's own count
  };
  std::vector<Span> spans;
  // Where tokens stand for the rotary embedding when that is not positions(): int64 [T], or [3, T] of time,
  // row and column (M-RoPE).
  Tensor rotary_positions = {};
  // Added to the scores of sequences of one length without caches: float [B, 1, T, T].
  Tensor bias = {};

  static Packed single(int64_t count, KvCache* cache = nullptr) { return Packed{{{count, cache}}, {}}; }
  int64_t total() const;
  // Position of every token in its own sequence, int64 [T]: cache length, cache length + 1, ...
  Tensor positions() const;
  void advance() const;  // tells the caches that the pass is over
};

}  // namespace vlm::nn
